#include "graph/operators.h"

#include <algorithm>
#include <set>

#include "base/printable.h"
#include "graph/attribute_value.h"
#include "graph/checked_graph.h"
#include "graph/operator_table.h"

namespace gluon_resnet {
namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kModel, message); }

std::string title(const Node& node) {
  return concat(printable_name(node.op), ", the node '", printable_name(node.name), "'");
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Attributes that training or device placement reads, but prediction does not.
bool is_of_training(const std::string& attribute) {
  static const std::set<std::string> names = {"ctx_group", "force_mirroring", "mirror_stage"};
  return (attribute.size() > 4 && attribute.compare(0, 2, "__") == 0 &&
          ends_with(attribute, "__")) ||
         ends_with(attribute, "lr_mult") || ends_with(attribute, "wd_mult") ||
         names.count(attribute) > 0;
}

void check_variable(Node* node) {
  static const Attribute kShape = {"__shape__", Kind::kTuple, -1, 1 << 30, 0, 8};
  static const Attribute kType = {"__dtype__", Kind::kWhole, -1, 12};
  static const Attribute kStorage = {"__storage_type__", Kind::kWhole, -1, 0};  // not sparse
  if (!node->inputs.empty() || !node->subgraphs.empty()) fail(title(*node) + ", has inputs");
  std::map<std::string, std::string> kept;
  for (const Attribute& attribute : {kShape, kType, kStorage}) {
    if (const std::string* const value = node->find(attribute.name)) {
      kept[attribute.name] = checked_value(attribute, *value);
    }
  }
  node->attributes = std::move(kept);
}

void check_attributes(const Operator& known, Node* node) {
  std::map<std::string, std::string> kept;
  for (const auto& attribute : node->attributes) {
    const auto& [name, value] = attribute;
    const auto found =
        std::find_if(known.attributes.begin(), known.attributes.end(),
                     [&](const Attribute& known) { return attribute.first == known.name; });
    if (found != known.attributes.end()) {
      const std::string checked = checked_value(*found, value);
      if (!checked.empty()) kept[name] = checked;
    } else if (!is_of_training(name)) {
      fail(concat("there is no attribute '", printable_name(name), "'"));
    }
  }
  for (const char* const name : known.required) {
    if (kept.count(name) == 0) fail(concat("the attribute '", name, "' is missing"));
  }
  node->attributes = std::move(kept);
}

std::vector<int64_t> numbers(const Node& node, const char* attribute) {
  const std::string* const text = node.find(attribute);
  return text == nullptr ? std::vector<int64_t>{} : *parse_tuple(*text);
}

// Checks that involve several attributes.
void check_together(const Node& node) {
  std::vector<int64_t> axes = numbers(node, node.op == "transpose" ? "axes" : "axis");
  std::sort(axes.begin(), axes.end());
  const bool twice = std::adjacent_find(axes.begin(), axes.end()) != axes.end();
  const bool both =
      axes.size() > 1 && axes.front() < 0 && axes.back() >= 0;  // perhaps the same axis
  if (twice || both) fail("an axis is repeated");
  if (node.op == "transpose" && !axes.empty() &&
      axes.back() + 1 != static_cast<int64_t>(axes.size())) {
    fail("axes: expected each axis once");
  }
  if ((node.op == "Pooling" || node.op == "_contrib_quantized_pooling") &&
      !is_true(node, "global_pool")) {
    const std::vector<int64_t> kernel = numbers(node, "kernel");
    const std::vector<int64_t> pad = numbers(node, "pad");
    if (kernel.size() != 2) fail("kernel: expected two numbers");
    for (size_t i = 0; i < pad.size(); ++i) {
      if (pad[i] >= kernel[i]) fail("pad: expected less than the kernel");
    }
  }
  for (const char* const name : {"stride", "dilate", "pad"}) {
    if (numbers(node, name).size() == 1) fail(concat(name, ": expected two numbers"));
  }
}

void check_operator(Node* node) {
  const auto found = operator_table().find(node->op);
  if (found == operator_table().end()) {
    fail(
        "this operator is not one of the supported operators of image classification "
        "(docs/model_card.md lists them)");
  }
  const Operator& known = found->second;
  check_attributes(known, node);
  check_together(*node);
  if (node->subgraphs.empty() == (node->op.compare(0, 4, "_sg_") == 0)) {
    fail("a graph inside it is missing, or does not belong there");
  }
  for (Graph& inner : node->subgraphs) {
    check_operators(&inner);
    inner = in_order(std::move(inner));
  }
  if (!node->subgraphs.empty()) check_fused(*node);
  const size_t inputs = node->inputs.size(), expected = known.inputs(*node);
  if (inputs != expected) fail(concat("expected ", expected, " inputs, found ", inputs));
}

// MXNet assumes that an entry has the shape required of such an input, even if it is another
// node's result with a different shape.
void check_parameters(const Graph& graph, const Node& node) {
  const auto [first, end] = parameters_by_channel(node);
  for (size_t i = first; i < end; ++i) {
    const Node& input = graph.nodes[node.inputs[i].node];
    if (!input.is_variable() || input.name == kGraphInput) {
      fail(concat("expected a parameter as its input ", i, ", found ", title(input)));
    }
  }
}

// Integer division by 0 ends the process. So INT8 numbers are reserved for INT8 operators, and so
// are the parameters that one of these reads.
class WholeNumbers {
 public:
  explicit WholeNumbers(const Graph& graph) : graph_(graph), readers_(graph.nodes.size()) {}

  void check(const Node& node) {
    const bool both = node.op == "_contrib_quantize_v2";  // reads either kind
    const bool whole = is_int8(node);
    for (const Entry& input : node.inputs) {
      const Node& source = graph_.nodes[input.node];
      if (source.is_variable()) {
        const size_t type = whole_number(source, "__dtype__", 0);
        if (!whole && type >= kFirstWholeType) fail(title(source) + ", has whole numbers");
        const char reader = both ? 0 : whole ? 1 : 2;
        char& before = readers_[input.node];
        if (before != 0 && reader != 0 && before != reader) {
          fail(title(source) + ", is read by both an INT8 operator and another one");
        }
        if (reader != 0) before = reader;
      } else if (!whole && !both && input.output == 0 && gives_int8(source)) {
        fail(title(source) + ", is INT8, which this operator does not read");
      }
    }
  }

 private:
  static constexpr size_t kFirstWholeType = 3;  // in MXNet's numbering of types: uint8

  static bool gives_int8(const Node& node) {
    return node.op == "_contrib_quantize_v2" ||
           (is_int8(node) && operator_table().at(node.op).outputs(node) == 3);
  }

  static bool is_int8(const Node& node) {
    for (const char* const start :
         {"_contrib_dequantize", "_contrib_quantized_", "_contrib_requ"}) {
      if (node.op.compare(0, std::string(start).size(), start) == 0) return true;
    }
    return is_true(node, "quantized");  // a fused operator
  }

  const Graph& graph_;
  std::vector<char> readers_;  // of variables; 1: INT8 operators, 2: others
};

void check_entry(const Graph& graph, const Entry& entry) {
  const Node& node = graph.nodes[entry.node];
  const size_t outputs = node.is_variable() ? 1 : operator_table().at(node.op).outputs(node);
  if (entry.output < outputs) return;
  fail(concat(title(node), ", has no output ", entry.output, ": there ",
              outputs == 1 ? "is " : "are ", outputs));
}

}  // namespace

std::pair<size_t, size_t> parameters_by_channel(const Node& node) {
  if (node.op == "BatchNorm" || node.op == "_contrib_quantized_batch_norm") return {1, 5};
  if (node.op == "InstanceNorm") return {1, 3};
  if (node.op == "LeakyReLU") return {1, node.inputs.size()};
  if (node.op == "_sg_mkldnn_conv" && is_true(node, "with_bn")) {
    for (const Node& inner : node.subgraphs[0].nodes) {
      if (inner.op == "Convolution") return {inner.inputs.size(), inner.inputs.size() + 4};
    }
  }
  return {0, 0};
}

void check_operators(Graph* graph) {
  std::set<std::string> variables;
  WholeNumbers whole_numbers(*graph);
  for (Node& node : graph->nodes) {
    if (node.is_variable()) {
      check_variable(&node);
      if (!variables.insert(node.name).second) {
        fail(concat("two inputs are named '", printable_name(node.name), "'"));
      }
      continue;
    }
    try {
      check_operator(&node);
      check_parameters(*graph, node);
      whole_numbers.check(node);
    } catch (const Error& error) {
      throw Error(ErrorKind::kModel, concat(title(node), ": ", error.what()));
    }
    for (const Entry& input : node.inputs) check_entry(*graph, input);
  }
  for (const Entry& head : graph->heads) check_entry(*graph, head);
}

}  // namespace gluon_resnet
