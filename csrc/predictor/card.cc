#include "predictor/card.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <utility>

#include "base/printable.h"
#include "base/read_file.h"
#include "predictor/model_error.h"

namespace gluon_resnet {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "gluon-resnet model card 2";
constexpr size_t kMostBytes = 1 << 24;  // as gluon_resnet/card.py
constexpr int kMostLevels = 100;

constexpr std::pair<const char*, Interpolation> kInterpolations[] = {
    {"nearest", Interpolation::kNearest}, {"linear", Interpolation::kLinear},
    {"cubic", Interpolation::kCubic},     {"area", Interpolation::kArea},
    {"lanczos", Interpolation::kLanczos},
};

std::optional<Interpolation> find_interpolation(const std::string& name) {
  const auto found = std::find_if(std::begin(kInterpolations), std::end(kInterpolations),
                                  [&](const auto& entry) { return name == entry.first; });
  if (found == std::end(kInterpolations)) return std::nullopt;
  return found->second;
}

// Turns JSON into a card; each value is checked before it is used.
class Parser {
 public:
  explicit Parser(const std::string& path) : path_(path) {}

  ModelCard parse(const json& content) const {
    const json& format = content.at("format");
    expect(format == kFormat, "format", kFormat, format);
    ModelCard card;
    const json& classes = content.at("classes");
    expect(classes.is_array() && !classes.empty(), "classes", "at least one name", classes);
    for (const json& name : classes) {
      expect(name.is_string(), "classes", "names", name);
      card.classes.push_back(name);
    }

    const json& preprocessing = content.at("preprocessing");
    const json& channels = preprocessing.at("channels");
    expect(channels == "RGB", "channels", "RGB", channels);
    card.size = pixels(preprocessing.at("size"), "size");
    const json& resize = preprocessing.at("resize");
    card.resize = resize.is_null() ? 0 : pixels(resize, "resize");
    expect(card.resize == 0 || card.resize >= card.size, "resize", "null or at least size", resize);
    const json& name = preprocessing.at("interpolation");
    expect(name.is_string() && find_interpolation(name), "interpolation",
           "linear, cubic, area, ...", name);
    card.interpolation = name;
    // Files of another format may still be there, from an earlier export of another network.
    const auto exported = content.find("exported");
    if (exported != content.end() && !exported->is_null()) {
      const json& formats = exported->at("formats");
      expect(formats.contains("mxnet"), "exported", "the format mxnet", formats);
    }
    return card;
  }

 private:
  void expect(bool condition, const char* key, const char* expected, const json& found) const {
    if (!condition) {
      const std::string shown = printable_name(found.dump());
      fail_model(path_, concat(key, ": expected ", expected, ", found ", shown));
    }
  }

  int pixels(const json& value, const char* key) const {
    const bool good = value.is_number_unsigned() && value >= 1 && value <= kMaxSide;
    expect(good, key, "a number of pixels", value);
    return value.get<int>();
  }

  const std::string& path_;
};

}  // namespace

ModelCard read_card(const std::string& path) {
  const std::string text = read_file(path, kMostBytes);
  // Printing and destroying a value recurse once for each level.
  const auto shallow = [&path](int depth, json::parse_event_t, const json&) {
    if (depth > kMostLevels) fail_model(path, "this is not a model card: it is nested too deeply");
    return true;
  };
  try {
    return Parser(path).parse(json::parse(text, shallow));
  } catch (const json::exception& error) {
    const std::string what = error.what();  // "[json.exception.parse_error.101] parse error at ..."
    fail_model(path, "this is not a model card: " +
                         printable(what.substr(what.find("] ") + 2), 3 * kMostOfAName));
  }
}

TransformPlan evaluation_transform(const ModelCard& card) {
  const std::optional<Interpolation> interpolation = find_interpolation(card.interpolation);
  const bool good = interpolation && card.size >= 1 && card.size <= kMaxSide &&
                    (card.resize == 0 || (card.resize >= card.size && card.resize <= kMaxSide));
  if (!good) {
    throw Error(ErrorKind::kUsage,
                concat("no evaluation transform has size ", card.size, ", resize ", card.resize,
                       " and interpolation ", card.interpolation));
  }
  TransformPlan plan;
  plan.size = card.size;
  plan.resize = card.resize;
  plan.interpolation = *interpolation;
  return plan;
}

std::vector<std::string> read_classes(const std::string& path) {
  std::istringstream text(read_file(path));
  std::vector<std::string> classes;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    try {
      json(line).dump();
    } catch (const json::exception&) {
      fail_model(path, "not in UTF-8");
    }
    classes.push_back(line);
  }
  if (classes.empty()) fail_model(path, "expected class names, one per line, found none");
  return classes;
}

}  // namespace gluon_resnet
