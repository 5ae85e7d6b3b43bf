// The door through which a graph from a file goes before MXNet sees it, in C++ and in Python.
//
// MXNet trusts its files: an output that does not exist, an axis that comes twice or a fused
// operator without its parts ends the process, and a large number takes all memory.
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

// A graph with the input `data` and one output, of operators that are known, within their bounds.
// What it has is checked in time that grows with the text; MXNet is given to_json() of it, and
// never the text. Throws Error(kModel) without a path.
Graph checked_graph(std::string_view json);

// Whether there is a convolution that a batch normalization and something else read, and which one:
// MXNet fuses these two and then computes something else. Empty: none.
std::string misfused_convolution(const Graph& graph);

// Throws Error(kModel) where parameters do not fit, or the network would take an absurd amount of
// memory for an image of so many values. `shapes` are those that MXNet infers: of each output that
// others may read, node by node; () or a negative length is not known.
void check_results(const Graph& graph, const std::vector<std::vector<int64_t>>& shapes,
                   size_t values);

// The cause in a message of MXNet's, "Error: Check failed: a == b (1 vs. 2) : CAUSE\nStack trace:
// ...", in one line of printable letters.
std::string mxnet_cause(const std::string& message);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_CHECKED_GRAPH_H_
