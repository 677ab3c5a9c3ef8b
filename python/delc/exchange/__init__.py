"""Models in and out: safetensors, torch files, exported programs, ONNX, and parameters as rows."""
