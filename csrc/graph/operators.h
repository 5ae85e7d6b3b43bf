// Checks whether MXNet can be given a graph: operators must be known, attributes within bounds.
#ifndef GLUON_RESNET_OPERATORS_H_
#define GLUON_RESNET_OPERATORS_H_

#include <cstddef>
#include <utility>

#include "graph/graph.h"

namespace gluon_resnet {

// Checks every node: its operator, its attributes, the number of its inputs, and that these exist.
// Attributes are put into a normal form, and those that only training reads are removed. Throws
// Error(kModel) with the name of the node.
void check_operators(Graph* graph);

// The same for a node that oneDNN has fused from others, whose own graphs have been checked: MXNet
// trusts its attributes about what is in them, and would read inputs that do not exist.
void check_fused(const Node& node);

// The range of a node's inputs, as [first, second), that are parameters whose shape MXNet takes
// for granted: one value for each channel.
std::pair<size_t, size_t> parameters_by_channel(const Node& node);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_OPERATORS_H_
