"""Answer HTTP with an exported model: rows in, what the model says of them out, both as JSON.

disttrain export runs/mnist-800 model.onnx
pip install onnxruntime
python examples/serve.py model.onnx 8000
curl -d '[[0, 0, 255, ...], ...]' localhost:8000
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import onnxruntime

model = onnxruntime.InferenceSession(sys.argv[1])
(rows,) = model.get_inputs()
dtype = {"tensor(uint8)": "u1", "tensor(float)": "f4", "tensor(double)": "f8"}[rows.type]
classes = json.loads(model.get_modelmeta().custom_metadata_map.get("classes", "[]"))


class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            (found,) = model.run(None, {rows.name: np.array(given, dtype)})
            best = [classes[n] for n in found.argmax(1)] if classes else None
            code, said = 200, {"classes": best, "outputs": found.tolist()}
        except Exception as error:
            code, said = 400, {"error": str(error)}
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())


ThreadingHTTPServer(("", int(sys.argv[2])), Answer).serve_forever()
