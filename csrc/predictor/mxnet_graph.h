// What MXNet infers from a checked graph, and the checks that MXPredCreate omits: it sets missing
// parameters to 0, and ignores superfluous ones.
#ifndef GLUON_RESNET_MXNET_GRAPH_H_
#define GLUON_RESNET_MXNET_GRAPH_H_

#include <string>

#include "graph/checked_graph.h"
#include "predictor/parameters.h"

namespace gluon_resnet {

struct GraphForm {
  Arrays parameters;  // named as in a .params file
  Shape output;
};

// Reads the graph in the file `path`. Throws Error(kSystem) with the path unless it is a valid
// graph of supported operators.
Graph read_graph_file(const std::string& path);

// Infers the form of the graph `json`, from the file `path`, for one RGB image of size x size
// pixels in float32. An unknown shape is (). Throws Error(kSystem) if the graph does not fit such
// images.
GraphForm infer_form(const std::string& path, const std::string& json, int size);

// Throws Error(kSystem) if the graph would need an absurd amount of memory for one image, with
// parameters of these shapes.
void check_memory(const std::string& path, const Graph& graph, const std::string& json, int size,
                  const Arrays& parameters);

// MXNet fuses a batch normalization into the convolution before it even if another node reads that
// convolution, and then computes something else. Throws Error(kSystem) for such a graph, unless the
// environment's MXNET_SUBGRAPH_BACKEND says that nothing is to be fused.
void check_fusion(const std::string& path, const Graph& graph);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_MXNET_GRAPH_H_
