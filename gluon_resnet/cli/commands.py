"""Our commands, by the names that gluon-resnet knows them by; each is a module of gluon_resnet.cli."""

COMMANDS = {
    "im2rec": "pack pictures into RecordIO files, and check such files",
    "mean": "measure the mean image of record files",
    "train": "train a network on record files",
    "evaluate": "test trained networks on record files",
    "responses": "measure the layer responses of trained networks, and draw them",
    "export": "write the files that predictors read",
    "quantize": "make the INT8 network of an exported one",
    "predict": "name what is in images",
    "serve": "serve a network: a web page and a JSON endpoint",
    "convert": "read the weights of other projects, and write ours as theirs",
    "summary": "show what networks consist of and cost",
    "card": "print what is known of a trained network",
    "reproduce": "reproduce the paper's tables and figures",
    "launch": "start the processes of a training on several machines",
    "compare": "put runs side by side",
    "doctor": "show what this machine has for training, and what is missing",
    "completion": "write what a shell needs to complete these commands",
}
