#include "graph/json_reader.h"

#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/printable.h"
#include "base/utf8.h"

namespace gluon_resnet {
namespace {

constexpr int kMostLevels = 64;
constexpr size_t kMostDigits = 18;  // more might overflow

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }

}  // namespace

void JsonReader::fail(const std::string& message, size_t offset) const {
  throw Error(ErrorKind::kModel, concat(message, " (at byte ", offset, ")"), "",
              static_cast<int64_t>(offset));
}

void JsonReader::refuse_second(const std::string& key, size_t offset) const {
  fail(concat("there are two values for '", printable_name(key), "'"), offset);
}

void JsonReader::refuse(const char* what) {
  const char first = peek();
  const char* found = nullptr;
  if (first == '{') found = "an object";
  if (first == '[') found = "an array";
  if (first == '"') found = "a string";
  if (first == 't' || first == 'f' || first == 'n') found = "a constant";
  if (is_digit(first) || first == '-') found = "a number";
  if (found != nullptr) fail(concat("expected ", what, ", found ", found), offset_);
  fail(concat("this is not JSON: expected ", what, ", found ",
              offset_ < text_.size() ? "something else" : "the end"),
       offset_);
}

void JsonReader::skip_space() {
  const size_t found = text_.find_first_not_of(" \t\r\n", offset_);
  offset_ = found == std::string_view::npos ? text_.size() : found;
}

char JsonReader::peek() {
  skip_space();
  return offset_ < text_.size() ? text_[offset_] : '\0';
}

void JsonReader::expect(char first, const char* what) {
  if (peek() != first) refuse(what);
  ++offset_;
}

void JsonReader::require(char letter) {
  if (peek() != letter) fail(concat("this is not JSON: expected '", letter, "'"), offset_);
  ++offset_;
}

bool JsonReader::closes(char letter) {
  if (peek() != letter) return false;
  ++offset_;
  return true;
}

bool JsonReader::goes_on(char letter) {
  if (closes(letter)) return false;
  require(',');
  return true;
}

uint32_t JsonReader::hexadecimal() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i, ++offset_) {
    static constexpr char kDigits[] = "0123456789abcdefABCDEF";
    const char letter = offset_ < text_.size() ? text_[offset_] : '\0';
    const char* const at = letter == '\0' ? nullptr : std::strchr(kDigits, letter);
    if (at == nullptr) fail("this is not JSON: expected a hexadecimal digit", offset_);
    const auto digit = static_cast<uint32_t>(at - kDigits);
    value = 16 * value + (digit < 16 ? digit : digit - 6);
  }
  return value;
}

void JsonReader::escape(std::string* value) {
  const size_t start = offset_ - 1;
  static constexpr char kLetters[] = "\"\\/bfnrt";
  static constexpr char kMeanings[] = "\"\\/\b\f\n\r\t";
  const char letter = offset_ < text_.size() ? text_[offset_++] : '\0';
  if (letter != 'u') {
    const char* const at = letter == '\0' ? nullptr : std::strchr(kLetters, letter);
    if (at == nullptr) fail("this is not JSON: expected an escape sequence", start);
    *value += kMeanings[at - kLetters];
    return;
  }
  uint32_t code = hexadecimal();
  if (code >= 0xD800 && code < 0xDC00 && text_.substr(offset_, 2) == "\\u") {
    offset_ += 2;
    const uint32_t low = hexadecimal();
    if (low < 0xDC00 || low > 0xDFFF) fail("this is not JSON: half of a surrogate pair", start);
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  } else if (code >= 0xD800 && code < 0xE000) {
    fail("this is not JSON: half of a surrogate pair", start);
  }
  append_utf8(code, value);
}

std::string JsonReader::string(const char* what) {
  expect('"', what);
  std::string value;
  while (offset_ < text_.size()) {
    const char letter = text_[offset_];
    if (letter == '"') {
      ++offset_;
      return value;
    }
    if (letter == '\\') {
      ++offset_;
      escape(&value);
      continue;
    }
    const size_t length = utf8_length(text_.substr(offset_, 4));
    if (length == 0) fail("this is not JSON: not in UTF-8", offset_);
    if (static_cast<unsigned char>(letter) < 0x20) {
      fail("this is not JSON: a control character in a string", offset_);
    }
    value.append(text_.substr(offset_, length));
    offset_ += length;
  }
  fail("this is not JSON: a string has no end", offset_);
}

std::string_view JsonReader::number() {
  const size_t start = offset_;
  const auto digits = [&] {
    const size_t first = offset_;
    while (offset_ < text_.size() && is_digit(text_[offset_])) ++offset_;
    if (offset_ == first) fail("this is not JSON: expected a digit", offset_);
    return offset_ - first;
  };
  const auto takes = [&](const char* letters) {
    const bool found = offset_ < text_.size() && text_[offset_] != '\0' &&
                       std::strchr(letters, text_[offset_]) != nullptr;
    if (found) ++offset_;
    return found;
  };
  takes("-");
  const bool zero = offset_ < text_.size() && text_[offset_] == '0';
  if (digits() > 1 && zero) fail("this is not JSON: a number begins with 0", start);
  if (takes(".")) digits();
  if (takes("eE")) {
    takes("+-");
    digits();
  }
  return text_.substr(start, offset_ - start);
}

int64_t JsonReader::integer(const char* what) {
  const char first = peek();
  if (!is_digit(first) && first != '-') refuse(what);
  const size_t start = offset_;
  const std::string_view digits = number();
  const bool whole = digits.find_first_of(".eE") == std::string_view::npos;
  if (!whole || digits.size() > kMostDigits) {
    fail(concat("expected ", what, ", found ", printable_name(digits)), start);
  }
  return std::stoll(std::string(digits));
}

void JsonReader::skip(int depth) {
  if (depth > kMostLevels) fail(concat("more than ", kMostLevels, " levels"), offset_);
  const char first = peek();
  if (first == '{') {
    object("an object", [&](const std::string&) { skip(depth + 1); });
  } else if (first == '[') {
    array("an array", [&](size_t) { skip(depth + 1); });
  } else if (first == '"') {
    string("a string");
  } else if (is_digit(first) || first == '-') {
    number();
  } else {
    for (const std::string_view word : {"true", "false", "null"}) {
      if (text_.substr(offset_, word.size()) != word) continue;
      offset_ += word.size();
      return;
    }
    fail("this is not JSON: expected a value", offset_);
  }
}

void JsonReader::skip() { skip(1); }

void JsonReader::end() {
  skip_space();
  if (offset_ < text_.size()) fail("this is not JSON: something follows the end", offset_);
}

std::string json_quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') {
      (quoted += '\\') += letter;
    } else if (static_cast<unsigned char>(letter) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof(code), "\\u%04x", static_cast<unsigned>(letter));
      quoted += code;
    } else {
      quoted += letter;
    }
  }
  return quoted + '"';
}

}  // namespace gluon_resnet
