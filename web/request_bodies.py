"""What /openapi.json says of requests: their bodies, and an example."""

from __future__ import annotations

from typing import Final

FILE: Final = {"type": "string", "format": "binary", "description": "An image file."}
ONE_FILE: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": FILE, "data": {**FILE, "description": "The same."}},
                }
            },
            "application/octet-stream": {"schema": FILE},
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "string", "description": "In base64."}},
                    "required": ["image"],
                },
                "example": {"image": "<an image in base64>"},
            },
        },
    }
}
MANY_FILES: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "array", "maxItems": 100, "minItems": 1, "items": FILE}
                    },
                    "required": ["file"],
                }
            }
        },
    }
}
INFER: Final = {
    "inputs": [
        {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["<an image in base64>"]}
    ],
    "outputs": [{"name": "score"}],
}
INFER_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "parameters": {"type": "object"},
                        "inputs": {
                            "type": "array", "minItems": 1, "maxItems": 1,
                            "items": {"$ref": "#/components/schemas/Tensor"},
                        },
                        "outputs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "name": {"enum": ["score", "label", "interval", "reply"]}
                                },
                                "required": ["name"],
                            },
                        },
                    },
                    "required": ["inputs"],
                },
                "example": INFER,
            },
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
            },
        },
    },
    "parameters": [
        {
            "name": "Inference-Header-Content-Length", "in": "header", "required": False,
            "description": "Bytes of JSON before the tensors (binary extension).",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
}  # fmt: skip
