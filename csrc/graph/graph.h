// A graph as MXNet's -symbol.json files hold it: nodes in the order of execution.
#ifndef GLUON_RESNET_GRAPH_H_
#define GLUON_RESNET_GRAPH_H_

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gluon_resnet {

struct Graph;

// An output of a node.
struct Entry {
  size_t node = 0;
  size_t output = 0;
  size_t version = 0;  // the number of in-place changes before, which MXNet counts for states
};

struct Node {
  bool is_variable() const { return op == "null"; }

  // The value of an attribute; nullptr if it is missing.
  const std::string* find(const std::string& attribute) const {
    const auto found = attributes.find(attribute);
    return found == attributes.end() ? nullptr : &found->second;
  }

  std::string op;
  std::string name;
  std::map<std::string, std::string> attributes;
  std::vector<Entry> inputs;
  std::vector<Graph> subgraphs;  // of an operator that oneDNN has fused from others
};

struct Graph {
  std::vector<Node> nodes;
  std::vector<Entry> heads;
};

// ResNet-1202 has 10,226.
constexpr size_t kMostNodes = 16384;

// The graph in a file. A node's inputs come from earlier nodes, so there are no cycles; whether the
// operators and the outputs that are read exist is checked by check_operators(). Throws
// Error(kModel).
Graph read_graph(std::string_view json);

// The nodes that can be reached from the heads, in the order in which MXNet visits them, which is
// that of its own files.
Graph in_order(Graph graph);

// The graph as MXNet 1.9.1 reads it, without anything else from its original file.
std::string to_json(const Graph& graph);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_GRAPH_H_
