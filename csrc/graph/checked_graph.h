// The checks that every graph from a file passes before MXNet sees it, in C++ and in Python.
//
// MXNet trusts its files: an output that does not exist, a repeated axis or a fused operator
// without its parts ends the process, and a large number takes all memory.
#ifndef GLUON_RESNET_CHECKED_GRAPH_H_
#define GLUON_RESNET_CHECKED_GRAPH_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace gluon_resnet {

constexpr const char* kGraphInput = "data";
constexpr size_t kMostGraphBytes = size_t{1} << 26;  // of a file

// A graph with the input `data` and one output, made of known operators within their bounds. It is
// checked in time proportional to the text; MXNet is given its to_json(), and never the text
// itself. Throws Error(kModel) without a path.
Graph checked_graph(std::string_view json);

// The name of a convolution that both a batch normalization and another node read: MXNet fuses the
// convolution and the normalization, and then computes something else. Empty if there is none.
std::string misfused_convolution(const Graph& graph);

// Throws Error(kModel) if parameters do not fit, or if the network would need an absurd amount of
// memory for an image of `values` values. `shapes` are the shapes that MXNet infers for each output
// that others may read, node by node; () or a negative length is unknown.
void check_results(const Graph& graph, const std::vector<std::vector<int64_t>>& shapes,
                   size_t values);

// The cause named in one of MXNet's messages, "Error: Check failed: a == b (1 vs. 2) : CAUSE\nStack
// trace: ...", as one printable line.
std::string mxnet_cause(const std::string& message);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_CHECKED_GRAPH_H_
