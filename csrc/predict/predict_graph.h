// What MXPredCreate does not check in a graph: it leaves missing parameters 0, ignores others, and
// ends the program when there is no output.
#ifndef GLUON_RESNET_PREDICT_GRAPH_H_
#define GLUON_RESNET_PREDICT_GRAPH_H_

#include <string>

#include "predict/predict_params.h"

namespace gluon_resnet {

constexpr const char* kGraphInput = "data";

struct GraphShapes {
  Shapes parameters;  // named as in a .params file
  Shape output;
};

// Of the graph `json`, from the file `path`, for one RGB image of size x size pixels. An unknown
// shape is (). Throws Error(kSystem) unless it is a graph with that input and one output.
GraphShapes infer_shapes(const std::string& path, const std::string& json, int size);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PREDICT_GRAPH_H_
