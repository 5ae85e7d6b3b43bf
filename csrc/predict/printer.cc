#include "predict/printer.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"

namespace gluon_resnet {
namespace {

using nlohmann::json;

// A name need not be UTF-8, but JSON must be.
std::string quoted(const std::string& text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

// The shortest digits that give the same number; null for a number that JSON cannot express.
std::string number(double value) { return json(value).dump(); }

std::string list(const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : ", ") + value;
  return "[" + text + "]";
}

std::string label_number(float label) {
  const bool whole = std::trunc(label) == label && std::abs(label) < 0x1p63f;
  return whole ? std::to_string(static_cast<int64_t>(label)) : number(label);
}

std::string format_json(const PrintOptions& options, const std::vector<std::string>& classes,
                        const Prediction& prediction) {
  std::string line = "{\"image\": " + quoted(prediction.name);
  std::vector<std::string> values;
  for (const float label : prediction.labels) values.push_back(label_number(label));
  if (!values.empty()) line += ", \"label\": " + (values.size() == 1 ? values[0] : list(values));
  values.clear();
  if (!prediction.error.empty()) {
    line += ", \"error\": " + quoted(prediction.error);
  } else if (options.logits) {
    for (const float logit : prediction.logits) values.push_back(number(logit));
    line += ", \"logits\": " + list(values);
  } else {
    for (const auto& [label, probability] : most_probable(prediction.logits, options.top_k)) {
      values.push_back(concat("{\"label\": ", label, ", \"name\": ", quoted(classes[label]),
                              ", \"probability\": ", number(probability), "}"));
    }
    line += ", \"classes\": " + list(values);
  }
  return printable(line + "}", SIZE_MAX) + "\n";
}

}  // namespace

std::string format_prediction(const PrintOptions& options, const std::vector<std::string>& classes,
                              const Prediction& prediction) {
  if (options.json) return format_json(options, classes, prediction);
  if (!prediction.error.empty()) return "";
  std::string text = printable(prediction.name) + "\n";
  char start[64];
  if (options.logits) {
    for (const float value : prediction.logits) {
      std::snprintf(start, sizeof(start), "  %.9g", static_cast<double>(value));
      text += start;
    }
    return text + "\n";
  }
  for (const auto& [label, probability] : most_probable(prediction.logits, options.top_k)) {
    std::snprintf(start, sizeof(start), "%7.2f %%  ", 100 * probability);
    text += start + printable(classes[label]) + "\n";
  }
  return text;
}

}  // namespace gluon_resnet
