"""Ways to add one flat message over the ranks: a shared window, a ring, and MPI's own."""
