#include "jpeg_entropy.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "jpeg_error.h"

namespace gluon_resnet {
namespace {

// Where the coefficients of a block stand, in the order in which they come (ITU T.81, figure 5). A
// run that leaves the block ends at one of the entries behind the 64.
constexpr size_t kPositions = 64 + 32 + JpegHuffmanTable::Symbol::kEndOfBlock;
constexpr std::array<uint8_t, kPositions> make_positions() {
  std::array<uint8_t, kPositions> positions{};
  int x = 0, y = 0;
  for (size_t i = 0; i < kPositions; ++i) {
    if (i >= 64) {
      positions[i] = 63;
      continue;
    }
    positions[i] = static_cast<uint8_t>(8 * y + x);
    const bool up = (x + y) % 2 == 0;
    if (up ? x == 7 : y == 7) {
      ++(up ? y : x);
    } else if (up ? y == 0 : x == 0) {
      ++(up ? x : y);
    } else {
      x += up ? 1 : -1;
      y += up ? -1 : 1;
    }
  }
  return positions;
}
constexpr std::array<uint8_t, kPositions> kPosition = make_positions();

// No block has more: 27 bits of DC and 63 times 26 of AC, and the 8 bytes that are read ahead.
constexpr size_t kPadding = 256;

// To make the tables takes as long as we save with so many bytes.
constexpr size_t kWorthTables = 8 << 10;

// Where no marker ends the data libjpeg, which reads ahead of what it decodes, finds their end
// early; so close to it we leave the image to libjpeg, so that both find the same.
constexpr size_t kReadAhead = 16;

constexpr int kMostDcBits = 11;
constexpr int kMostAcBits = 10;

uint64_t load_big_endian(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

// The coefficient of `size` bits that `bits` starts with (ITU T.81, F.2.2.1: EXTEND).
int32_t coefficient(uint64_t bits, uint32_t size) {
  const auto value = static_cast<int32_t>(bits >> 1 >> (63 - size));
  const auto negative = static_cast<int32_t>(~static_cast<int64_t>(bits) >> 63);
  return value + (negative & (1 - (1 << size)));
}

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
  // libjpeg refuses these tables, even where nothing uses the code.
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
    if (code > (1u << length) - (counts_[length] > 0 ? 1 : 0)) return false;  // all ones is none
  }
  return true;
}

void JpegHuffmanTable::make_pairs() {
  for (uint32_t i = 0; i < pairs_.size(); ++i) {
    const uint64_t bits = static_cast<uint64_t>(i) << (64 - kLookahead);
    const Symbol first = symbols_[i];
    pairs_[i] = {0};
    if (first.total() == 0 || first.total() > kLookahead) continue;
    const uint64_t first_value = half(coefficient(bits << first.length(), first.size()));
    uint64_t total = first.total();
    uint64_t advance = first.skip() + 1;
    uint64_t second_place = first.skip();  // where there is no second, it is the first again
    uint64_t second_value = first_value;
    const uint64_t rest = bits << total;
    const Symbol second = symbol(rest);
    const bool ends = second.skip() == Symbol::kEndOfBlock;
    const bool whole = second.total() > 0 && total + second.total() <= kLookahead;
    if (whole && advance < kPairReach && (ends || advance + second.skip() + 1 <= kPairReach)) {
      total += second.total();
      second_place = advance + second.skip();
      advance = second_place + 1;
      second_value = half(coefficient(rest << second.length(), second.size()));
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

// The state of a reader, in registers while a block is decoded.
struct JpegEntropyDecoder::Bits {
  static constexpr uint32_t kEnd = JpegHuffmanTable::Symbol::kEndOfBlock;

  uint64_t buffer;
  uint32_t buffered;
  const uint8_t* next;

  // Makes them 56 at least.
  void refill() {
    buffer |= load_big_endian(next) >> buffered;
    next += (63 - buffered) >> 3;
    buffered |= 56;
  }
  void drop(uint32_t count) {  // below 64
    buffer <<= count & 63;
    buffered -= count;
  }
  // Two of AC, or one of each kind, need no more than 56 bits.
  bool take(const JpegHuffmanTable& table, JpegHuffmanTable::Symbol* symbol) {
    *symbol = table.symbol(buffer);
    if (__builtin_expect(symbol->total() == 0, 0)) *symbol = table.long_symbol(buffer);
    return symbol->total() != 0;
  }
  // The coefficient that follows this symbol.
  int32_t value(JpegHuffmanTable::Symbol symbol) const {
    return coefficient(buffer << symbol.length(), symbol.size());
  }

  bool ac_coefficient(const JpegHuffmanTable& table, uint32_t* at, JCOEF* block) {
    JpegHuffmanTable::Symbol symbol;
    if (!take(table, &symbol)) return false;
    *at += symbol.skip();
    // Where there is none this stores a zero, at a place that is still zero.
    block[kPosition[*at]] = static_cast<JCOEF>(value(symbol));
    ++*at;
    drop(symbol.total());
    return true;
  }

  bool ac_pair(const JpegHuffmanTable& table, uint32_t* at, JCOEF* block) {
    const JpegHuffmanTable::Pair pair = table.pair(buffer);
    if (pair.total() == 0) return ac_coefficient(table, at, block);
    block[kPosition[*at + pair.first_place()]] = static_cast<JCOEF>(pair.first_value());
    block[kPosition[*at + pair.second_place()]] = static_cast<JCOEF>(pair.second_value());
    *at += pair.advance();
    drop(pair.total());
    return true;
  }

  bool ac_coefficients(const JpegHuffmanTable& table, JCOEF* block) {
    uint32_t at = 1;
    if (!ac_pair(table, &at, block)) return false;
    constexpr uint32_t kPairsEnd = 64 - JpegHuffmanTable::kPairReach;
    while (at < kPairsEnd) {
      refill();
      if (!ac_pair(table, &at, block)) return false;
      if (at >= kPairsEnd) break;
      if (!ac_pair(table, &at, block)) return false;
    }
    while (at < 64) {  // here the next symbol may be the next block's
      refill();
      if (!ac_coefficient(table, &at, block)) return false;
    }
    return at == 64 || at > kEnd;
  }

  bool skip_ac_coefficients(const JpegHuffmanTable& table) {
    uint32_t at = 1;
    while (at < 64) {
      refill();
      for (int i = 0; i < 2 && at < 64; ++i) {
        const JpegHuffmanTable::Stride stride = table.stride(buffer);
        const uint32_t after = at + stride.advance;
        const bool ends = stride.advance > kEnd;
        // Without an end-of-block the symbols behind the 64th are not this block's.
        if (stride.total != 0 && (ends ? after - kEnd - 1 < 64 : after <= 64)) {
          at = after;
          drop(stride.total);
          continue;
        }
        JpegHuffmanTable::Symbol symbol;
        if (!take(table, &symbol)) return false;
        at += symbol.skip() + 1;
        drop(symbol.total());
      }
    }
    return at == 64 || at > kEnd;
  }
};

void JpegEntropyDecoder::attach(jpeg_decompress_struct* codec) {
  module_.start_pass = start_pass;
  module_.decode_mcu = decode_mcu;
  codec->client_data = this;
  libjpegs_start_input_pass_ = codec->inputctl->start_input_pass;
  codec->inputctl->start_input_pass = start_input_pass;
}

JpegEntropyDecoder& JpegEntropyDecoder::of(j_decompress_ptr codec) {
  return *static_cast<JpegEntropyDecoder*>(codec->client_data);
}

// libjpeg has just made its own entropy decoder, and is about to start it.
void JpegEntropyDecoder::start_input_pass(j_decompress_ptr codec) {
  JpegEntropyDecoder& self = of(codec);
  if (self.enabled_ && !codec->progressive_mode && !codec->arith_code &&
      !codec->inputctl->has_multiple_scans) {
    self.libjpegs_ = codec->entropy;
    codec->entropy = &self.module_;
  }
  (*self.libjpegs_start_input_pass_)(codec);
}

void JpegEntropyDecoder::start_pass(j_decompress_ptr codec) {
  JpegEntropyDecoder& self = of(codec);
  try {
    if (self.prepare(codec)) return;
  } catch (const std::bad_alloc&) {
    // Not through libjpeg's frames: it does without our memory.
  }
  codec->entropy = self.libjpegs_;
  (*codec->entropy->start_pass)(codec);
}

bool JpegEntropyDecoder::assign(const JHUFF_TBL& table, bool dc, Table* to) {
  if (!*to) *to = std::make_unique<JpegHuffmanTable>();
  return (*to)->assign(table, dc);
}

bool JpegEntropyDecoder::prepare(j_decompress_ptr codec) {
  if (codec->Ss != 0 || codec->Se != 63 || codec->Ah != 0 || codec->Al != 0) return false;
  bool familiar = true;
  for (int i = 0; i < codec->blocks_in_MCU; ++i) {
    const int component = codec->MCU_membership[i];
    const int dc = codec->cur_comp_info[component]->dc_tbl_no;
    const int ac = codec->cur_comp_info[component]->ac_tbl_no;
    if (std::max(dc, ac) >= NUM_HUFF_TBLS || std::min(dc, ac) < 0) return false;
    const JHUFF_TBL* const dc_table = codec->dc_huff_tbl_ptrs[dc];
    const JHUFF_TBL* const ac_table = codec->ac_huff_tbl_ptrs[ac];
    if (dc_table == nullptr || ac_table == nullptr) return false;
    if (i == 0 || codec->MCU_membership[i - 1] != component) {
      familiar &= assign(*dc_table, true, &dc_tables_[dc]);
      familiar &= assign(*ac_table, false, &ac_tables_[ac]);
    }
    blocks_[i] = {dc_tables_[dc].get(), ac_tables_[ac].get(), component};
  }
  if (!familiar && codec->src->bytes_in_buffer < kWorthTables) return false;
  for (int i = 0; i < codec->blocks_in_MCU; ++i) {
    if (!blocks_[i].dc->make() || !blocks_[i].ac->make()) return false;
  }
  if (!unstuff(codec->src->next_input_byte, codec->src->bytes_in_buffer)) return false;
  next_segment_ = 0;
  start_segment();
  mcus_to_restart_ = codec->restart_interval;
  column_ = 0;
  need_columns(0, codec->MCUs_per_row - 1);
  module_.insufficient_data = FALSE;
  return true;
}

// A byte 0xff in the data is followed by a zero, so that it is no marker; markers number the
// segments, and the first other marker ends the scan (ITU T.81, B.1.1).
bool JpegEntropyDecoder::unstuff(const uint8_t* bytes, size_t size) {
  if (data_.size() < size + kPadding) data_.resize(size + kPadding);
  segments_.clear();
  bool marked = false;  // by a marker
  size_t begin = 0;
  const uint8_t* at = bytes;
  const uint8_t* const end = bytes + size;
  uint8_t* out = data_.data();
  while (at < end) {
#ifdef __SSE2__
    while (end - at >= 16) {
      const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), block);
      const int marks = _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8(-1)));
      const int count = marks == 0 ? 16 : __builtin_ctz(static_cast<unsigned>(marks));
      at += count;
      out += count;
      if (marks != 0) break;
    }
#endif
    if (at == end) break;
    const uint8_t byte = *at++;
    if (byte != 0xff) {
      *out++ = byte;
      continue;
    }
    if (at == end) break;
    const uint8_t next = *at++;
    if (next == 0) {
      *out++ = 0xff;
      continue;
    }
    if (next < 0xd0 || next > 0xd7) {
      marked = next != 0xff;
      break;
    }
    if (next - 0xd0u != segments_.size() % 8) return false;
    const auto stop = static_cast<size_t>(out - data_.data());
    segments_.push_back({begin, stop});
    begin = stop;
  }
  const auto stop = static_cast<size_t>(out - data_.data());
  segments_.push_back({begin, marked ? stop : stop - std::min(kReadAhead, stop - begin)});
  std::memset(out, 0, kPadding);
  return true;
}

bool JpegEntropyDecoder::start_segment() {
  if (next_segment_ == segments_.size()) return false;
  const Segment& segment = segments_[next_segment_++];
  next_ = data_.data() + segment.begin;
  end_ = data_.data() + segment.end;
  buffer_ = 0;
  buffered_ = 0;
  last_dc_.fill(0);
  return true;
}

void JpegEntropyDecoder::need_columns(JDIMENSION first, JDIMENSION last) {
  first_column_ = first;
  last_column_ = last;
}

boolean JpegEntropyDecoder::decode_mcu(j_decompress_ptr codec, JBLOCKROW* blocks) {
  JpegEntropyDecoder& self = of(codec);
  if (!self.decode(codec, blocks)) {
    self.gave_up_ = true;
    codec->err->msg_code = 0;
    jpeg_leave(reinterpret_cast<j_common_ptr>(codec));
  }
  return TRUE;
}

bool JpegEntropyDecoder::decode(j_decompress_ptr codec, JBLOCKROW* blocks) {
  if (codec->restart_interval != 0) {
    if (mcus_to_restart_ == 0) {
      if (!start_segment()) return false;
      mcus_to_restart_ = codec->restart_interval;
    }
    --mcus_to_restart_;
  }
  const bool needed = blocks != nullptr && column_ >= first_column_ && column_ <= last_column_;
  if (++column_ == codec->MCUs_per_row) column_ = 0;

  Bits bits{buffer_, buffered_, next_};
  for (int i = 0; i < codec->blocks_in_MCU; ++i) {
    const Block& block = blocks_[i];
    bits.refill();
    JpegHuffmanTable::Symbol symbol;
    if (!bits.take(*block.dc, &symbol)) return false;
    last_dc_[block.component] += static_cast<uint32_t>(bits.value(symbol));
    bits.drop(symbol.total());
    if (needed) {
      JCOEF* const coefficients = *blocks[i];
      coefficients[0] = static_cast<JCOEF>(last_dc_[block.component]);
      if (!bits.ac_coefficients(*block.ac, coefficients)) return false;
    } else {
      if (!bits.skip_ac_coefficients(*block.ac)) return false;
    }
    // What was read behind the end were zeros, or the next segment.
    if (bits.next - end_ > static_cast<ptrdiff_t>(bits.buffered / 8)) return false;
  }
  buffer_ = bits.buffer;
  buffered_ = bits.buffered;
  next_ = bits.next;
  return true;
}

}  // namespace gluon_resnet
