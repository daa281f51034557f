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
rows, *more = model.get_inputs()
if more:
    sys.exit(f"{sys.argv[1]} takes columns with texts: export it with --prepared")
dtype = {"tensor(uint8)": "u1", "tensor(float)": "f4", "tensor(double)": "f8"}[rows.type]
classes = json.loads(model.get_modelmeta().custom_metadata_map.get("classes", "[]"))


class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            given = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            given = np.array(given, "f8").reshape(len(given), *rows.shape[1:])
            if dtype == "u1" and (given != given.clip(0, 255).round()).any():
                raise ValueError("pixels are whole numbers from 0 to 255")
            (found,) = model.run(None, {rows.name: given.astype(dtype)})
            best = [classes[n] for n in found.argmax(1)] if classes else None
            said = {"classes": best, "outputs": found.tolist()}
            code, text = 200, json.dumps(said, allow_nan=False)
        except Exception as error:
            numbers = " x ".join(map(str, rows.shape[1:]))
            said = f"send a JSON list of rows, {numbers} numbers each: {error}"
            code, text = 400, json.dumps({"error": said})
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(text.encode())


ThreadingHTTPServer(("", int(sys.argv[2])), Answer).serve_forever()
