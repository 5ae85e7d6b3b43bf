#include "graph/graph.h"

#include <set>
#include <utility>

#include "base/printable.h"
#include "graph/json_reader.h"

namespace gluon_resnet {
namespace {

constexpr size_t kMostInputs = 4096;     // of a node
constexpr size_t kMostNameBytes = 1024;  // of a node's or an operator's name
constexpr int kMostLevels = 1;           // of graphs nested in nodes

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kModel, message); }

// Reads a file's graph, and those inside its nodes.
class GraphReader {
 public:
  explicit GraphReader(std::string_view json) : json_(json) {}

  Graph read() {
    Graph graph = read_graph(0);
    json_.end();
    return graph;
  }

 private:
  Graph read_graph(int level) {
    Graph graph;
    bool nodes = false, heads = false;
    json_.object("a graph", [&](const std::string& key) {
      if (key == "nodes") {
        nodes = true;
        json_.array("a list of nodes", [&](size_t) {
          if (++count_ > kMostNodes) fail(concat("expected at most ", kMostNodes, " nodes"));
          graph.nodes.push_back(read_node(level));
        });
      } else if (key == "heads") {
        heads = true;
        graph.heads = read_entries();
      } else {
        json_
            .skip();  // arg_nodes and node_row_ptr follow from the nodes; attrs has MXNet's version
      }
    });
    if (!nodes || !heads) fail("expected a graph with 'nodes' and 'heads'");
    for (size_t i = 0; i < graph.nodes.size(); ++i) check_node(graph.nodes[i], i);
    for (const Entry& head : graph.heads) {
      if (head.node >= graph.nodes.size()) {
        fail(concat("a head refers to node ", head.node, ", but the number of nodes is ",
                    graph.nodes.size()));
      }
    }
    return graph;
  }

  Node read_node(int level) {
    Node node;
    bool op = false, name = false, inputs = false;
    json_.object("a node", [&](const std::string& key) {
      if (key == "op") {
        op = true;
        node.op = read_name();
      } else if (key == "name") {
        name = true;
        node.name = read_name();
      } else if (key == "inputs") {
        inputs = true;
        node.inputs = read_entries();
      } else if (key == "attrs" || key == "attr" || key == "param") {  // depending on MXNet's age
        read_attributes(&node);
      } else if (key == "subgraphs") {
        json_.array("a list of graphs", [&](size_t) {
          if (level == kMostLevels) fail("graphs are nested more than one level deep");
          node.subgraphs.push_back(read_graph(level + 1));
        });
      } else if (key == "control_deps") {
        json_.array("no 'control_deps'", [&](size_t) { fail("control_deps are not supported"); });
      } else if (key == "backward_source_id") {
        json_.skip();
      } else {
        fail(concat("a node has the unknown key '", printable_name(key), "'"));
      }
    });
    if (!op || !name || !inputs) fail("expected nodes with 'op', 'name' and 'inputs'");
    return node;
  }

  void read_attributes(Node* node) {
    json_.object("attributes", [&](const std::string& key) {
      if (!node->attributes.emplace(key, json_.string("an attribute in quotes")).second) {
        fail(concat("there are two values for '", printable_name(key), "'"));
      }
    });
  }

  std::string read_name() {
    std::string name = json_.string("a name");
    if (name.empty() || name.size() > kMostNameBytes) {
      fail(concat("expected a name of 1 to ", kMostNameBytes, " bytes, found ", name.size()));
    }
    for (const char letter : name) {
      if (static_cast<unsigned char>(letter) < ' ' || letter == '\x7f') {
        fail(concat("the name '", printable_name(name), "' has a control character"));
      }
    }
    return name;
  }

  // Each is [node, output] or [node, output, version].
  std::vector<Entry> read_entries() {
    std::vector<Entry> entries;
    json_.array("a list of outputs", [&](size_t) {
      if (entries.size() == kMostInputs) fail(concat("more than ", kMostInputs, " outputs"));
      size_t values[3] = {};
      size_t count = 0;
      json_.array("an output of a node", [&](size_t index) {
        const int64_t value = json_.integer("a number");
        if (index > 2 || value < 0) fail("expected [node, output, version]");
        values[index] = static_cast<size_t>(value);
        count = index + 1;
      });
      if (count < 2) fail("expected [node, output, version]");
      if (values[2] > kMostNodes) fail("impossible version of an output");
      entries.push_back({values[0], values[1], values[2]});
    });
    return entries;
  }

  void check_node(const Node& node, size_t index) const {
    for (const Entry& input : node.inputs) {
      if (input.node >= index) {
        fail(concat("node ", index, ", '", printable_name(node.name), "', reads node ", input.node,
                    ", which does not come before it"));
      }
    }
  }

  JsonReader json_;
  size_t count_ = 0;  // of nodes
};

void append(const std::vector<Entry>& entries, std::string* json) {
  *json += '[';
  for (const Entry& entry : entries) {
    if (json->back() == ']') *json += ", ";
    *json += concat('[', entry.node, ", ", entry.output, ", ", entry.version, ']');
  }
  *json += ']';
}

void append(const Node& node, std::string* json) {
  *json += concat("{\"op\": ", json_quoted(node.op), ", \"name\": ", json_quoted(node.name));
  if (!node.attributes.empty()) {
    const char* separator = ", \"attrs\": {";
    for (const auto& [key, value] : node.attributes) {
      *json += concat(separator, json_quoted(key), ": ", json_quoted(value));
      separator = ", ";
    }
    *json += '}';
  }
  *json += ", \"inputs\": ";
  append(node.inputs, json);
  if (!node.subgraphs.empty()) {
    const char* separator = ", \"subgraphs\": [";
    for (const Graph& graph : node.subgraphs) {
      *json += separator + to_json(graph);
      separator = ", ";
    }
    *json += ']';
  }
  *json += '}';
}

}  // namespace

Graph read_graph(std::string_view json) { return GraphReader(json).read(); }

Graph in_order(Graph graph) {
  std::vector<size_t> places(graph.nodes.size(), SIZE_MAX);  // of the nodes placed so far
  Graph result;
  std::vector<std::pair<size_t, size_t>> path;  // nodes, and their finished inputs
  for (const Entry& head : graph.heads) {
    path.emplace_back(head.node, 0);
    while (!path.empty()) {
      const size_t index = path.back().first;
      Node& node = graph.nodes[index];
      if (places[index] != SIZE_MAX) {
        path.pop_back();
      } else if (path.back().second < node.inputs.size()) {
        const size_t input = node.inputs[path.back().second++].node;
        path.emplace_back(input, 0);
      } else {
        for (Entry& input : node.inputs) input.node = places[input.node];
        places[index] = result.nodes.size();
        result.nodes.push_back(std::move(node));
        path.pop_back();
      }
    }
    result.heads.push_back({places[head.node], head.output, head.version});
  }
  return result;
}

std::string to_json(const Graph& graph) {
  std::string json = "{\"nodes\": [";
  std::string variables;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (i > 0) json += ", ";
    append(graph.nodes[i], &json);
    if (graph.nodes[i].is_variable()) variables += (variables.empty() ? "" : ", ") + concat(i);
  }
  json += "], \"arg_nodes\": [" + variables + "], \"heads\": ";
  append(graph.heads, &json);
  // For an older version MXNet would report an upgrade, although there is nothing to upgrade.
  return json + ", \"attrs\": {\"mxnet_version\": [\"int\", 10901]}}";
}

}  // namespace gluon_resnet
