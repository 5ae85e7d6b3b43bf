// Checks the results of a graph's nodes: their shapes must fit, and memory must hold them; see
// checked_graph.h.
#include <algorithm>

#include "base/printable.h"
#include "graph/checked_graph.h"
#include "graph/operator_table.h"
#include "graph/operators.h"

namespace gluon_resnet {
namespace {

using Shape = std::vector<int64_t>;

// Wide ResNets hold some 200 times the image at a time, ResNet-1202 12,000 times in all.
constexpr uint64_t kMostAtATime = 1 << 10;
constexpr uint64_t kMostInAll = 1 << 15;
constexpr uint64_t kAlwaysAtATime = 1 << 26;  // for any image: 256 MiB of float32
constexpr uint64_t kAlwaysInAll = 1 << 30;

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kModel, message); }

[[noreturn]] void fail(const Node& node, const std::string& message) {
  fail(concat(printable_name(node.op), ", the node '", printable_name(node.name), "': ", message));
}

std::string text(const Shape& shape) {
  std::string text;
  for (const int64_t length : shape) text += (text.empty() ? "" : ", ") + std::to_string(length);
  return printable("(" + text + (shape.size() == 1 ? ",)" : ")"), kMostOfAName);
}

// The number of values in an array of this shape, which MXNet counts in 32 bits.
uint64_t elements(const Node& node, const Shape& shape) {
  uint64_t product = shape.empty() ? 0 : 1;
  for (const int64_t length : shape) {
    const bool overflows =
        length < 1 || __builtin_mul_overflow(product, static_cast<uint64_t>(length), &product);
    if (overflows) product = 0;
    if (product == 0) break;
  }
  if (product > 0 && product <= INT32_MAX) return product;
  fail(node, "expected a result of 1 to 2^31 - 1 values, found shape " + text(shape));
}

// The shapes of a graph's entries.
class Results {
 public:
  Results(const Graph& graph, const std::vector<Shape>& shapes) : shapes_(shapes) {
    size_t next = 0;
    for (const Node& node : graph.nodes) {
      firsts_.push_back(next);
      next += node.is_variable() ? 1 : operator_table().at(node.op).outputs(node);
    }
    firsts_.push_back(next);
    if (next != shapes.size()) fail("MXNet reads a different graph");
  }

  const Shape& operator[](const Entry& entry) const {
    return shapes_[firsts_[entry.node] + entry.output];
  }

  uint64_t elements_of(const Graph& graph, size_t node) const {
    uint64_t sum = 0;
    for (size_t i = firsts_[node]; i < firsts_[node + 1]; ++i) {
      sum += elements(graph.nodes[node], shapes_[i]);
    }
    return sum;
  }

 private:
  const std::vector<Shape>& shapes_;
  std::vector<size_t> firsts_;
};

// MXNet reads one value of these parameters per channel, whatever their shapes are.
void check_channels(const Results& results, const Node& node) {
  const auto [first, end] = parameters_by_channel(node);
  if (first == end) return;
  int64_t channels = 0;
  if (node.op == "_sg_mkldnn_conv") {
    const Shape& weight = results[node.inputs[1]];
    channels = weight.empty() ? 0 : weight[0];
  } else {
    const Shape& data = results[node.inputs[0]];
    const auto rank = static_cast<int64_t>(data.size());
    int64_t axis = 1;
    if (const std::string* const value = node.find("axis")) axis = std::stoll(*value);
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank) fail(node, "there is no such axis");
    channels = data[static_cast<size_t>(axis)];
  }
  for (size_t i = first; i < end; ++i) {
    const Shape& shape = results[node.inputs[i]];
    const bool one = node.op == "LeakyReLU" && shape == Shape{1};  // for all channels
    if (!one && shape != Shape{channels}) {
      fail(node,
           concat("expected shape (", channels, ",) of its input ", i, ", found ", text(shape)));
    }
  }
}

}  // namespace

void check_results(const Graph& graph, const std::vector<Shape>& shapes, size_t values) {
  const Results results(graph, shapes);
  std::vector<size_t> last_readers(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    last_readers[i] = i;
    for (const Entry& input : graph.nodes[i].inputs) last_readers[input.node] = i;
  }
  for (const Entry& head : graph.heads) last_readers[head.node] = graph.nodes.size();
  std::vector<uint64_t> freed(graph.nodes.size() + 1);  // after each node
  uint64_t now = 0, most = 0, all = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const uint64_t own = results.elements_of(graph, i);
    check_channels(results, node);
    // MXNet lets '(-3, 0)' leave out axes, and then reads past the end.
    if (node.op == "Reshape" && elements(node, results[node.inputs[0]]) != own) {
      fail(node,
           "expected as many values as its input has, found shape " + text(results[{i, 0, 0}]));
    }
    if (!node.is_variable() ||
        node.name == kGraphInput) {  // other variables are in the parameter file
      all += own;
      now += own;
      most = std::max(most, now);
      freed[last_readers[i]] += own;
    }
    now -= freed[i];
  }
  const auto require = [&](uint64_t count, const char* when, uint64_t times, uint64_t always) {
    if (count <= std::max(times * values, always)) return;
    fail(concat("the results for one image would take ", count, " values ", when, ", more than ",
                times, " times the image"));
  };
  require(most, "at a time", kMostAtATime, kAlwaysAtATime);
  require(all, "in all", kMostInAll, kAlwaysInAll);
}

}  // namespace gluon_resnet
