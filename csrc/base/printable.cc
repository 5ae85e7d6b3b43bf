#include "base/printable.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iterator>

namespace gluon_resnet {
namespace {

struct Range {
  char32_t first, last;
};

// As gluon_resnet/terminal.py has them, which says what they are.
constexpr Range kObeyed[] = {
    {0x0, 0x1f},        {0x7f, 0x9f},       {0xad, 0xad},       {0x600, 0x605},
    {0x61c, 0x61c},     {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},
    {0x8e2, 0x8e2},     {0x180e, 0x180e},   {0x200b, 0x200f},   {0x2028, 0x202e},
    {0x2060, 0x206f},   {0xd800, 0xdfff},   {0xfeff, 0xfeff},   {0xfff0, 0xfffb},
    {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3},
    {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff},
};
constexpr char32_t kCut[] = U"...";
constexpr size_t kCutLength = std::size(kCut) - 1;

bool is_obeyed(char32_t letter) {
  const Range* const range =
      std::lower_bound(std::begin(kObeyed), std::end(kObeyed), letter,
                       [](const Range& r, char32_t value) { return r.last < value; });
  return range != std::end(kObeyed) && letter >= range->first;
}

// The letter at `position`, which is moved behind it; for a byte that begins none, the half of a
// surrogate pair that Python has in its place.
char32_t next_letter(const std::string& text, size_t* position) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  const size_t at = *position;
  const uint8_t first = byte(at);
  ++*position;
  if (first < 0x80) return first;
  const size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  char32_t letter = first & (0x3fU >> more);
  bool good = first >= 0xc2 && first <= 0xf4;
  for (size_t i = 1; i <= more && good; ++i) {
    good = (byte(at + i) & 0xc0) == 0x80;
    letter = letter << 6 | (byte(at + i) & 0x3fU);
  }
  constexpr char32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  good =
      good && letter >= kLeast[more] && letter <= 0x10ffff && (letter < 0xd800 || letter > 0xdfff);
  if (!good) return 0xdc00U + first;
  *position += more;
  return letter;
}

void append_unit(unsigned unit, std::u32string* escaped) {
  char text[8];
  const int length = std::snprintf(text, sizeof(text), "\\u%04x", unit);
  escaped->append(text, text + length);
}

void append_escaped(char32_t letter, std::u32string* escaped) {
  if (!is_obeyed(letter)) {
    escaped->push_back(letter);
    return;
  }
  constexpr char kShort[] = "\bb\ff\nn\rr\tt";
  for (size_t i = 0; i + 1 < sizeof(kShort); i += 2) {
    if (letter != static_cast<char32_t>(kShort[i])) continue;
    escaped->push_back('\\');
    escaped->push_back(static_cast<char32_t>(kShort[i + 1]));
    return;
  }
  const auto code = static_cast<unsigned>(letter);
  if (code < 0x10000) return append_unit(code, escaped);
  append_unit(0xd800 + ((code - 0x10000) >> 10), escaped);
  append_unit(0xdc00 + (code & 0x3ff), escaped);
}

void append_utf8(char32_t letter, std::string* text) {
  const auto put = [text](char32_t value) { text->push_back(static_cast<char>(value)); };
  if (letter < 0x80) return put(letter);
  if (letter < 0x800) {
    put(0xc0 | letter >> 6);
  } else if (letter < 0x10000) {
    put(0xe0 | letter >> 12);
    put(0x80 | (letter >> 6 & 0x3f));
  } else {
    put(0xf0 | letter >> 18);
    put(0x80 | (letter >> 12 & 0x3f));
    put(0x80 | (letter >> 6 & 0x3f));
  }
  put(0x80 | (letter & 0x3f));
}

}  // namespace

std::string printable(const std::string& text, size_t most) {
  std::u32string escaped;
  for (size_t position = 0; position < text.size();) {
    append_escaped(next_letter(text, &position), &escaped);
  }
  if (escaped.size() > most) {
    const size_t first = (most - kCutLength + 1) / 2, last = most - kCutLength - first;
    escaped.replace(first, escaped.size() - first - last, kCut);
  }
  std::string result;
  for (const char32_t letter : escaped) append_utf8(letter, &result);
  return result;
}

}  // namespace gluon_resnet
