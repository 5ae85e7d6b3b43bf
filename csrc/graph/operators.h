// Whether MXNet can be given a graph: its operators are known, and each attribute is within bounds.
#ifndef GLUON_RESNET_OPERATORS_H_
#define GLUON_RESNET_OPERATORS_H_

#include <cstddef>
#include <utility>

#include "graph/graph.h"

namespace gluon_resnet {

// Checks every node: its operator, its attributes, how many inputs it has, and that these exist.
// Attributes are then written in one way, and what only a training reads is gone. Throws
// Error(kModel) with the name of the node.
void check_operators(Graph* graph);

// The same for a node that oneDNN has fused of others, whose own graphs have been checked: MXNet
// takes it at its word for what is in them, and reads inputs that are not there.
void check_fused(const Node& node);

// Which inputs of a node, from the first up to the second, are parameters of which MXNet takes the
// shape for granted: one value for each channel.
std::pair<size_t, size_t> parameters_by_channel(const Node& node);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_OPERATORS_H_
