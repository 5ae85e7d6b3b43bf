#include "base/printable.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iterator>

#include "base/utf8.h"

namespace gluon_resnet {
namespace {

struct Range {
  char32_t first, last;
};

// The same ranges as in gluon_resnet/terminal.py, which explains them.
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

// The character at `position`, which is advanced past it; for a byte that does not begin a
// character, the lone surrogate by which Python represents it.
char32_t next_letter(const std::string& text, size_t* position) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const size_t at = *position;
  const size_t length = utf8_length(std::string_view(text).substr(at, 4));
  *position += std::max<size_t>(length, 1);
  if (length == 0) return 0xdc00U + byte(at);
  if (length == 1) return byte(at);
  char32_t letter = byte(at) & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) letter = letter << 6 | (byte(at + i) & 0x3fU);
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
