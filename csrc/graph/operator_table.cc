#include "graph/operator_table.h"

#include <cstdlib>

namespace gluon_resnet {
namespace {

constexpr double kSide = 1 << 14;  // pixels
constexpr double kChannels = 1 << 24;
constexpr double kLargest = 3e38;  // of float32
constexpr double kAxes = 6;

// Attributes.
Attribute truth(const char* name) { return {name, Kind::kTruth}; }
Attribute whole(const char* name, double least, double most, bool none = false) {
  return {name, Kind::kWhole, least, most, 0, 0, "", none};
}
Attribute real(const char* name, double least = -kLargest, double most = kLargest) {
  return {name, Kind::kReal, least, most, 0, 0, "", true};
}
Attribute tuple(const char* name, double least, double most, size_t shortest, size_t longest,
                bool none = false) {
  return {name, Kind::kTuple, least, most, shortest, longest, "", none};
}
Attribute word(const char* name, const char* words) {
  return {name, Kind::kWord, 0, 0, 0, 0, words};
}
Attribute nothing(const char* name) { return {name, Kind::kNothing}; }

// Counts.
template <size_t kCount>
size_t count(const Node&) {
  return kCount;
}
size_t listed(const Node& node) { return whole_number(node, "num_args", 1); }
size_t thrice_listed(const Node& node) { return 3 * listed(node); }
size_t split(const Node& node) { return whole_number(node, "num_outputs", 1); }
size_t weighted(const Node& node) { return is_true(node, "no_bias") ? 2 : 3; }
size_t leaky(const Node& node) {
  const std::string* const type = node.find("act_type");
  return type != nullptr && *type == "prelu" ? 2 : 1;
}
// Operators that oneDNN has fused from others; fused_operators.cc checks their parts.
size_t fused(const Node& node) { return node.inputs.size(); }
size_t fused_outputs(const Node& node) {
  return is_true(node, "quantized") && !is_true(node, "enable_float_output") ? 3 : 1;
}

using Table = std::map<std::string, Operator>;

void add_layers(Table* table) {
  const std::vector<Attribute> pooling = {tuple("kernel", 1, kSide, 0, 2),
                                          tuple("stride", 1, kSide, 0, 2),
                                          tuple("pad", 0, kSide, 0, 2),
                                          word("pool_type", "max avg sum"),
                                          word("pooling_convention", "valid full same"),
                                          truth("global_pool"),
                                          truth("count_include_pad"),
                                          word("layout", "NCHW None"),
                                          nothing("cudnn_off"),
                                          nothing("p_value")};
  const std::vector<Attribute> normalization = {
      real("eps", 1e-12, 1),     real("momentum", 0, 1),           truth("fix_gamma"),
      truth("use_global_stats"), word("output_mean_var", "False"), whole("axis", -1, 3),
      real("min_calib_range"),   real("max_calib_range"),          nothing("cudnn_off")};
  Table& t = *table;
  t["Activation"] = {
      count<1>, count<1>, {word("act_type", "relu sigmoid tanh softrelu softsign")}, {"act_type"}};
  t["BatchNorm"] = {count<5>, count<1>, normalization, {}};
  t["Convolution"] = {weighted,
                      count<1>,
                      {tuple("kernel", 1, kSide, 2, 2), tuple("stride", 1, kSide, 0, 2),
                       tuple("dilate", 1, kSide, 0, 2), tuple("pad", 0, kSide, 0, 2),
                       whole("num_filter", 1, kChannels), whole("num_group", 1, kChannels),
                       truth("no_bias"), word("layout", "NCHW None"), nothing("workspace"),
                       nothing("cudnn_tune"), nothing("cudnn_off")},
                      {"kernel", "num_filter"}};
  // 'always' is for Monte Carlo; predictions must be reproducible.
  t["Dropout"] = {count<1>,
                  count<1>,
                  {real("p", 0, 0.999), word("mode", "training"), tuple("axes", 0, 3, 0, 4),
                   nothing("cudnn_off")},
                  {}};
  t["FullyConnected"] = {weighted,
                         count<1>,
                         {whole("num_hidden", 1, 1 << 30), truth("no_bias"), truth("flatten")},
                         {"num_hidden"}};
  t["InstanceNorm"] = {count<3>, count<1>, {real("eps", 1e-12, 1)}, {}};
  t["L2Normalization"] = {
      count<1>, count<1>, {real("eps", 1e-30, 1), word("mode", "instance channel spatial")}, {}};
  t["LRN"] = {count<1>,
              count<1>,
              {real("alpha"), real("beta"), real("knorm"), whole("nsize", 1, 1023)},
              {"nsize"}};
  t["LeakyReLU"] = {leaky,
                    count<1>,
                    {word("act_type", "elu selu leaky prelu gelu"), real("slope"),
                     real("lower_bound"), real("upper_bound")},
                    {}};
  t["Pooling"] = {count<1>, count<1>, pooling, {}};
  t["UpSampling"] = {count<1>,
                     count<1>,
                     {whole("scale", 1, 64), word("sample_type", "nearest"),
                      whole("num_args", 1, 1), whole("num_filter", 0, kChannels),
                      word("multi_input_mode", "concat sum"), nothing("workspace")},
                     {"scale"}};
  t["_contrib_AdaptiveAvgPooling2D"] = {
      count<1>, count<1>, {tuple("output_size", 1, kSide, 1, 2)}, {}};
  t["_contrib_BilinearResize2D"] = {
      count<1>,
      count<1>,
      {whole("height", 1, kSide), whole("width", 1, kSide), word("mode", "size"),
       truth("align_corners"), nothing("scale_height"), nothing("scale_width")},
      {"height", "width"}};

  t["_contrib_quantized_act"] = {count<3>, count<3>, {word("act_type", "relu")}, {"act_type"}};
  t["_contrib_quantized_batch_norm"] = {
      count<7>, count<3>, normalization, {"min_calib_range", "max_calib_range"}};
  t["_contrib_quantized_pooling"] = {count<3>, count<3>, pooling, {}};
}

void add_shapes(Table* table) {
  Table& t = *table;
  t["Concat"] = {listed, count<1>, {whole("num_args", 1, 4096), whole("dim", -4, 3)}, {"num_args"}};
  t["Flatten"] = {count<1>, count<1>, {}, {}};
  t["Pad"] = {
      count<1>,
      count<1>,
      {word("mode", "constant edge"), tuple("pad_width", 0, kSide, 8, 10), real("constant_value")},
      {"mode", "pad_width"}};
  t["Reshape"] = {count<1>,
                  count<1>,
                  {tuple("shape", -4, 1 << 30, 1, 8), truth("reverse"),
                   word("keep_highest", "False"), tuple("target_shape", 0, 0, 0, 2)},
                  {"shape"}};
  t["SliceChannel"] = {count<1>,
                       split,
                       {whole("num_outputs", 1, 1024), whole("axis", -4, 3), truth("squeeze_axis")},
                       {"num_outputs"}};
  t["SwapAxis"] = {count<1>, count<1>, {whole("dim1", 0, 5), whole("dim2", 0, 5)}, {}};
  t["expand_dims"] = {count<1>, count<1>, {whole("axis", -kAxes, kAxes - 1)}, {"axis"}};
  t["slice"] = {
      count<1>,
      count<1>,
      {tuple("begin", -(1 << 30), 1 << 30, 1, 6, true),
       tuple("end", -(1 << 30), 1 << 30, 1, 6, true), tuple("step", 1, kSide, 0, 6, true)},
      {"begin", "end"}};
  t["slice_axis"] = {count<1>,
                     count<1>,
                     {whole("axis", -kAxes, kAxes - 1), whole("begin", -(1 << 30), 1 << 30),
                      whole("end", -(1 << 30), 1 << 30, true)},
                     {"axis", "begin", "end"}};
  t["squeeze"] = {count<1>, count<1>, {tuple("axis", -kAxes, kAxes - 1, 0, 6, true)}, {}};
  t["transpose"] = {count<1>, count<1>, {tuple("axes", 0, kAxes - 1, 0, 6)}, {}};
  for (const char* const name : {"max", "mean", "min", "sum"}) {
    t[name] = {count<1>,
               count<1>,
               {tuple("axis", -kAxes, kAxes - 1, 0, 6, true), truth("keepdims"), truth("exclude")},
               {}};
  }
  t["_contrib_quantized_concat"] = {
      thrice_listed, count<3>, {whole("num_args", 1, 1024), whole("dim", 1, 3)}, {"num_args"}};
  t["_contrib_quantized_flatten"] = {count<3>, count<3>, {}, {}};
}

void add_elements(Table* table) {
  Table& t = *table;
  for (const char* const name :
       {"BlockGrad", "_copy", "abs", "erf", "exp", "log", "negative", "ones_like", "relu",
        "sigmoid", "softsign", "sqrt", "square", "tanh", "zeros_like"}) {
    t[name] = {count<1>, count<1>, {}, {}};
  }
  for (const char* const name :
       {"_Div", "_Minus", "_Mul", "_Plus", "_maximum", "_minimum", "_minus", "_mul", "_plus",
        "broadcast_add", "broadcast_div", "broadcast_maximum", "broadcast_minimum", "broadcast_mul",
        "broadcast_sub", "elemwise_add", "elemwise_div", "elemwise_mul", "elemwise_sub"}) {
    t[name] = {count<2>, count<1>, {}, {}};
  }
  for (const char* const name :
       {"_DivScalar", "_MinusScalar", "_MulScalar", "_PlusScalar", "_div_scalar", "_maximum_scalar",
        "_minimum_scalar", "_minus_scalar", "_mul_scalar", "_plus_scalar", "_power_scalar",
        "_rdiv_scalar", "_rminus_scalar"}) {
    t[name] = {count<1>, count<1>, {real("scalar"), truth("is_int")}, {"scalar"}};
  }
  for (const char* const name : {"ElementWiseSum", "add_n"}) {
    t[name] = {listed, count<1>, {whole("num_args", 1, 4096)}, {"num_args"}};
  }
  for (const char* const name : {"log_softmax", "softmax"}) {
    t[name] = {count<1>,
               count<1>,
               {whole("axis", -4, 3), real("temperature", 1e-6, 1e6), word("dtype", "None float32"),
                word("use_length", "False")},
               {}};
  }
  const char* const types = "float32 float16 float64";
  for (const char* const name : {"Cast", "amp_cast"}) {
    t[name] = {count<1>, count<1>, {word("dtype", types)}, {"dtype"}};
  }
  t["clip"] = {count<1>, count<1>, {real("a_min"), real("a_max")}, {"a_min", "a_max"}};
  t["hard_sigmoid"] = {count<1>, count<1>, {real("alpha"), real("beta")}, {}};
}

void add_int8(Table* table) {
  Table& t = *table;
  const Attribute low = real("min_calib_range"), high = real("max_calib_range");
  t["_contrib_dequantize"] = {count<3>, count<1>, {word("out_type", "float32"), low, high}, {}};
  t["_contrib_quantize_v2"] = {
      count<1>, count<3>, {word("out_type", "auto int8 uint8"), low, high}, {}};
  t["_contrib_requantize"] = {
      count<3>, count<3>, {word("out_type", "auto int8 uint8"), low, high}, {}};
  t["_sg_mkldnn_conv"] = {
      fused,
      fused_outputs,
      {truth("quantized"), truth("enable_float_output"), truth("with_bn"), truth("with_act"),
       truth("with_sum"), truth("with_postsum_act"), low, high},
      {}};
  t["_sg_mkldnn_fully_connected"] = {
      fused,
      fused_outputs,
      {truth("quantized"), truth("enable_float_output"), truth("with_eltwise"),
       truth("channel_wise_quantize"), low, high},
      {}};
}

}  // namespace

const std::map<std::string, Operator>& operator_table() {
  static const Table table = [] {
    Table table;
    add_layers(&table);
    add_shapes(&table);
    add_elements(&table);
    add_int8(&table);
    return table;
  }();
  return table;
}

std::vector<std::string> operator_names() {
  std::vector<std::string> names;
  for (const auto& entry : operator_table()) names.push_back(entry.first);
  return names;
}

bool is_true(const Node& node, const char* attribute) {
  const std::string* const value = node.find(attribute);
  return value != nullptr && *value == "True";
}

size_t whole_number(const Node& node, const char* attribute, size_t missing) {
  const std::string* const value = node.find(attribute);
  return value == nullptr ? missing : std::strtoull(value->c_str(), nullptr, 10);
}

}  // namespace gluon_resnet
