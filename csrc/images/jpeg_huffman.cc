#include "images/jpeg_huffman.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace gluon_resnet {
namespace {

constexpr int kMostDcBits = 11;
constexpr int kMostAcBits = 10;

uint64_t half(int32_t value) { return static_cast<uint16_t>(value); }

}  // namespace

JpegHuffmanTable::Symbol JpegHuffmanTable::make_symbol(int length, uint8_t value, bool dc) {
  const int size = dc ? value : value & 15;
  if (size > (dc ? kMostDcBits : kMostAcBits)) return {0};
  uint32_t skip = dc ? 0 : value >> 4;
  if (!dc && size == 0 && skip < 15) skip = Symbol::kEndOfBlock;
  return {static_cast<uint32_t>((length + size) | length << 8 | size << 16) | skip << 24};
}

bool JpegHuffmanTable::assign(const JHUFF_TBL& table, bool dc) {
  const bool same = dc == dc_ && std::memcmp(&counts_[1], &table.bits[1], 16) == 0 &&
                    std::memcmp(values_.data(), table.huffval, values_.size()) == 0;
  if (same) return true;
  made_ = false;
  dc_ = dc;
  std::copy_n(&table.bits[1], 16, &counts_[1]);
  std::copy_n(table.huffval, values_.size(), values_.begin());
  return false;
}

bool JpegHuffmanTable::make() {
  if (made_) return true;
  const auto codes = std::accumulate(counts_.begin(), counts_.end(), size_t{0});
  if (codes > values_.size()) return false;
  // libjpeg refuses these tables, even if nothing uses the code.
  const auto wrong = [](uint8_t value) { return value > 15; };
  if (dc_ && std::any_of(values_.begin(), values_.begin() + codes, wrong)) return false;
  if (!make_symbols()) return false;
  if (!dc_) {
    make_pairs();
    make_strides();
  }
  made_ = true;
  return true;
}

bool JpegHuffmanTable::make_symbols() {
  symbols_.fill({0});
  uint32_t code = 0, index = 0;
  for (int length = 1; length <= 16; ++length, code <<= 1) {
    first_code_[length] = code;
    first_value_[length] = index;
    for (int i = 0; i < counts_[length]; ++i, ++code, ++index) {
      if (length > kLookahead) continue;
      const uint32_t repeats = 1u << (kLookahead - length);
      if ((code + 1) * repeats > symbols_.size()) return false;
      std::fill_n(&symbols_[code * repeats], repeats, make_symbol(length, values_[index], dc_));
    }
    if (code > (1u << length) - (counts_[length] > 0 ? 1 : 0))
      return false;  // all ones is not a code
  }
  return true;
}

void JpegHuffmanTable::make_pairs() {
  for (uint32_t i = 0; i < pairs_.size(); ++i) {
    const uint64_t bits = static_cast<uint64_t>(i) << (64 - kLookahead);
    const Symbol first = symbols_[i];
    pairs_[i] = {0};
    if (first.total() == 0 || first.total() > kLookahead) continue;
    const uint64_t first_value = half(jpeg_coefficient(bits << first.length(), first.size()));
    uint64_t total = first.total();
    uint64_t advance = first.skip() + 1;
    uint64_t second_place = first.skip();  // without a second one, it is the first again
    uint64_t second_value = first_value;
    const uint64_t rest = bits << total;
    const Symbol second = symbol(rest);
    const bool ends = second.skip() == Symbol::kEndOfBlock;
    const bool whole = second.total() > 0 && total + second.total() <= kLookahead;
    if (whole && advance < kPairReach && (ends || advance + second.skip() + 1 <= kPairReach)) {
      total += second.total();
      second_place = advance + second.skip();
      advance = second_place + 1;
      second_value = half(jpeg_coefficient(rest << second.length(), second.size()));
    }
    pairs_[i] = {total | uint64_t{first.skip()} << 8 | second_place << 16 | advance << 24 |
                 first_value << 32 | second_value << 48};
  }
}

void JpegHuffmanTable::make_strides() {
  for (uint32_t i = 0; i < strides_.size(); ++i) {
    Stride stride;
    while (true) {
      const auto rest = static_cast<uint64_t>(i) << (64 - kLookahead) << stride.total;
      const Symbol next = symbol(rest);
      if (next.total() == 0 || stride.total + next.total() > kLookahead) break;
      const bool last = next.skip() == Symbol::kEndOfBlock;
      if (!last && stride.advance + next.skip() + 1 > 63) break;
      stride.total = static_cast<uint16_t>(stride.total + next.total());
      stride.advance = static_cast<uint16_t>(stride.advance + next.skip() + 1);
      if (last) break;
    }
    strides_[i] = stride;
  }
}

JpegHuffmanTable::Symbol JpegHuffmanTable::long_symbol(uint64_t next_bits) const {
  for (int length = kLookahead + 1; length <= 16; ++length) {
    const uint32_t offset = static_cast<uint32_t>(next_bits >> (64 - length)) - first_code_[length];
    if (offset < counts_[length]) {
      return make_symbol(length, values_[first_value_[length] + offset], dc_);
    }
  }
  return {0};
}

}  // namespace gluon_resnet
