// Checks the parts of the nodes that oneDNN has fused from others; see operators.h.
#include <set>

#include "base/printable.h"
#include "graph/operator_table.h"
#include "graph/operators.h"

namespace gluon_resnet {
namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kModel, message); }

// A chain of operators: the first input of each is the previous operator's output, and its other
// inputs are, in order, the inputs of the whole chain.
class Chain {
 public:
  explicit Chain(const Graph& graph) {
    size_t next = 0;  // of the nodes
    const auto take_variable = [&](const Entry& input) {
      while (next < graph.nodes.size() && !graph.nodes[next].is_variable()) ++next;
      if (input.node != next) fail("the graph inside it is not a chain");
      ++next;
      ++variables_;
    };
    size_t before = SIZE_MAX;
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      const Node& node = graph.nodes[i];
      if (node.is_variable()) continue;
      for (size_t j = 0; j < node.inputs.size(); ++j) {
        if (j > 0 || before == SIZE_MAX) {
          take_variable(node.inputs[j]);
        } else if (node.inputs[j].node != before) {
          fail("the graph inside it is not a chain");
        }
      }
      before = i;
      operators_.push_back(&node);
    }
    if (graph.heads.size() != 1 || graph.heads[0].node != before) {
      fail("the graph inside it does not have exactly one output");
    }
    if (variables_ + operators_.size() != graph.nodes.size())
      fail("the graph inside it is not a chain");
  }

  size_t variables() const { return variables_; }

  // Advances past the next operator, if it is one of these.
  bool takes(const std::set<std::string>& names) {
    if (next_ == operators_.size() || names.count(operators_[next_]->op) == 0) return false;
    ++next_;
    return true;
  }

  bool ends() const { return next_ == operators_.size(); }

 private:
  std::vector<const Node*> operators_;
  size_t variables_ = 0;
  size_t next_ = 0;
};

void expect_flag(const Node& node, const char* attribute, bool inside) {
  if (is_true(node, attribute) != inside) {
    fail(concat(attribute, " does not match the graph inside it"));
  }
}

}  // namespace

void check_fused(const Node& node) {
  if (node.subgraphs.size() != 1) fail("expected one graph inside it");
  static const std::set<std::string> kActivations = {
      "Activation", "LeakyReLU", "clip", "relu", "sigmoid", "tanh", "abs", "exp", "sqrt", "square"};
  Chain chain(node.subgraphs[0]);
  size_t ranges = 0;  // of INT8: a smallest and a largest value for each
  if (node.op == "_sg_mkldnn_conv") {
    if (!chain.takes({"Convolution"})) fail("expected a convolution inside it");
    expect_flag(node, "with_bn", chain.takes({"BatchNorm"}));
    expect_flag(node, "with_act", chain.takes(kActivations));
    const bool sum = chain.takes({"elemwise_add"});
    expect_flag(node, "with_sum", sum);
    expect_flag(node, "with_postsum_act", sum && chain.takes(kActivations));
    ranges = sum ? 2 : 1;
  } else {
    if (!chain.takes({"FullyConnected"})) fail("expected a fully connected layer inside it");
    expect_flag(node, "with_eltwise", chain.takes(kActivations));
    ranges = is_true(node, "channel_wise_quantize") ? 1 : chain.variables();
  }
  if (!chain.ends()) fail("the graph inside it has more operators than expected");
  const size_t expected = chain.variables() + (is_true(node, "quantized") ? 2 * ranges : 0);
  if (node.inputs.size() != expected) {
    fail(concat("expected ", expected, " inputs, found ", node.inputs.size()));
  }
}

}  // namespace gluon_resnet
