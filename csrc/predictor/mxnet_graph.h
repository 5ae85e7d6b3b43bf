// What MXNet makes of a checked graph, and what MXPredCreate does not check: it leaves missing
// parameters 0, and ignores others.
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

// Reads the file `path`. Throws Error(kSystem) with the path for anything but a graph that is
// known.
Graph read_graph_file(const std::string& path);

// Of the graph from the file `path`, which is `json`, for one RGB image of size x size pixels, in
// float32. An unknown shape is (). Throws Error(kSystem) where it is none for such images.
GraphForm infer_form(const std::string& path, const std::string& json, int size);

// Throws Error(kSystem) where it would take an absurd amount of memory for one image, with
// parameters of these shapes.
void check_memory(const std::string& path, const Graph& graph, const std::string& json, int size,
                  const Arrays& parameters);

// MXNet fuses a batch normalization into the convolution before it also where something else reads
// that convolution, and then computes something else. Throws Error(kSystem) for a graph with such a
// place, unless the environment's MXNET_SUBGRAPH_BACKEND says that nothing is to be fused.
void check_fusion(const std::string& path, const Graph& graph);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_MXNET_GRAPH_H_
