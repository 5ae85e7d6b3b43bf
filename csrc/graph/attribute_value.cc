#include "graph/attribute_value.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/printable.h"

namespace gluon_resnet {
namespace {

constexpr size_t kMostDigits = 18;

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// Python 2 wrote the long integer 3 as 3L.
std::optional<int64_t> parse_whole(std::string_view text) {
  if (!text.empty() && text.back() == 'L') text.remove_suffix(1);
  int64_t value = 0;
  const char* const end = text.data() + text.size();
  if (text.size() > kMostDigits) return std::nullopt;
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::optional<double> parse_real(std::string_view text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::string range(const Attribute& attribute) {
  return concat("from ", attribute.least, " to ", attribute.most);
}

std::string tuple_text(const std::vector<int64_t>& values) {
  std::string text;
  for (const int64_t value : values) {
    if (!text.empty()) text += ", ";
    text += value == kNone ? "None" : std::to_string(value);
  }
  return "(" + text + (values.size() == 1 ? ",)" : ")");
}

// What was expected; empty if the value is valid, and then `text` is set to its normal form.
std::string check(const Attribute& attribute, std::string* text) {
  const std::string_view value = trimmed(*text);
  switch (attribute.kind) {
    case Kind::kTruth:
      if (value == "True" || value == "true" || value == "1") {
        *text = "True";
      } else if (value == "False" || value == "false" || value == "0") {
        *text = "False";
      } else {
        return "True or False";
      }
      return "";
    case Kind::kWhole: {
      const auto number = parse_whole(value);
      const bool good = number && static_cast<double>(*number) >= attribute.least &&
                        static_cast<double>(*number) <= attribute.most;
      if (!good) return "a whole number " + range(attribute);
      *text = std::to_string(*number);
      return "";
    }
    case Kind::kReal: {
      const auto number = parse_real(value);
      const bool good = number && *number >= attribute.least && *number <= attribute.most;
      if (!good) return "a number " + range(attribute);
      *text = std::string(value);
      return "";
    }
    case Kind::kTuple: {
      const auto values = parse_tuple(value);
      bool good =
          values && values->size() >= attribute.shortest && values->size() <= attribute.longest;
      for (size_t i = 0; good && i < values->size(); ++i) {
        const auto number = static_cast<double>((*values)[i]);
        good = (*values)[i] == kNone ? attribute.may_be_none
                                     : number >= attribute.least && number <= attribute.most;
      }
      if (!good) {
        return concat(attribute.shortest < attribute.longest ? "at most " : "", attribute.longest,
                      " whole numbers ", range(attribute));
      }
      *text = tuple_text(*values);
      return "";
    }
    case Kind::kWord: {
      std::string_view words = attribute.words;
      while (!words.empty()) {
        const size_t length = std::min(words.find(' '), words.size());
        if (words.substr(0, length) == value) {
          *text = std::string(value);
          return "";
        }
        words.remove_prefix(std::min(length + 1, words.size()));
      }
      return std::string("one of ") + attribute.words;
    }
    case Kind::kNothing:
      text->clear();
      return "";
  }
  return "nothing";
}

}  // namespace

std::optional<std::vector<int64_t>> parse_tuple(std::string_view text) {
  constexpr size_t kMost = 64;
  text = trimmed(text);
  if (text.empty()) return std::nullopt;
  const char open = text.front(), close = text.back();
  if ((open == '(' && close == ')') || (open == '[' && close == ']')) {
    text = trimmed(text.substr(1, text.size() - 2));
    if (text.empty()) return std::vector<int64_t>{};
    if (text.back() == ',') text.remove_suffix(1);  // "(3,)"
  }
  std::vector<int64_t> values;
  for (bool more = true; more;) {
    const size_t comma = text.find(',');
    more = comma != std::string_view::npos;
    const std::string_view item = trimmed(text.substr(0, comma));
    const auto value = item == "None" ? kNone : parse_whole(item);
    if (!value || values.size() == kMost) return std::nullopt;
    values.push_back(*value);
    if (more) text.remove_prefix(comma + 1);
  }
  return values;
}

std::string checked_value(const Attribute& attribute, const std::string& text) {
  const bool none = attribute.may_be_none || attribute.kind == Kind::kTruth;
  if (none && trimmed(text) == "None") return "";
  std::string value = text;
  const std::string expected = check(attribute, &value);
  if (!expected.empty()) {
    throw Error(ErrorKind::kModel,
                concat(attribute.name, ": expected ", expected, ", found ", printable_name(text)));
  }
  return value;
}

}  // namespace gluon_resnet
