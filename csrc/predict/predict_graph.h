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

// MXNet fuses a batch normalization into the convolution before it also where something else reads
// that convolution, and then computes something else. Throws Error(kSystem) for a graph with such a
// place, unless the environment's MXNET_SUBGRAPH_BACKEND says that nothing is to be fused.
void check_fusion(const std::string& path, const std::string& json);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PREDICT_GRAPH_H_
