"""Work in a folder that stops and goes on: training, distilling, classifiers, studies, 8-bit models."""
