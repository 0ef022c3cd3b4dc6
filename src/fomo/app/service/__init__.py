"""Each use of FoMo as a plain function that prints nothing: the command line and a server call these.

| file             | uses                                                                              |
|------------------|-----------------------------------------------------------------------------------|
| `cities.py`      | list a folder's families, inspect a city, import a table                          |
| `forecasting.py` | forecast, generate and fill a city of a file; write what comes out                |
| `evaluation.py`  | score weights and the rules on the test part of a family                          |
| `training.py`    | train a recipe, resume it, export its weights                                     |
| `onnx_export.py` | weights as ONNX graphs, which `onnx_graphs.py` traces                             |
| `demo.py`        | the whole way on a made city, or on one of yours                                  |
| `outputs.py`     | where results go, checked before the work begins; forecasts as tables and figures |
"""
