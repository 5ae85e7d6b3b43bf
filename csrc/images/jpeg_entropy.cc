#include "images/jpeg_entropy.h"

#include <algorithm>
#include <cstring>
#include <new>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "images/jpeg_error.h"

namespace gluon_resnet {
namespace {

// The places of a block's coefficients, in the order in which they arrive (ITU T.81, figure 5). A
// run that leaves the block ends at one of the entries after the 64.
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

// The most that a block has: 27 bits of DC, 63 times 26 of AC, and 8 bytes read ahead.
constexpr size_t kPadding = 256;

// Making the tables takes as long as decoding this many bytes saves.
constexpr size_t kWorthTables = 8 << 10;

// If no marker ends the data, libjpeg, which reads ahead of what it decodes, notices their end
// early; this close to it we leave the image to libjpeg, so that the results agree.
constexpr size_t kReadAhead = 16;

uint64_t load_big_endian(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

}  // namespace

// The state of a reader, kept in registers while a block is decoded.
struct JpegEntropyDecoder::Bits {
  static constexpr uint32_t kEnd = JpegHuffmanTable::Symbol::kEndOfBlock;

  uint64_t buffer;
  uint32_t buffered;
  const uint8_t* next;

  // Refills to at least 56 bits.
  void refill() {
    buffer |= load_big_endian(next) >> buffered;
    next += (63 - buffered) >> 3;
    buffered |= 56;
  }
  void drop(uint32_t count) {  // fewer than 64
    buffer <<= count & 63;
    buffered -= count;
  }
  // Two AC coefficients, or one DC and one AC, need no more than 56 bits.
  bool take(const JpegHuffmanTable& table, JpegHuffmanTable::Symbol* symbol) {
    *symbol = table.symbol(buffer);
    if (__builtin_expect(symbol->total() == 0, 0)) *symbol = table.long_symbol(buffer);
    return symbol->total() != 0;
  }
  // The coefficient that follows this symbol.
  int32_t value(JpegHuffmanTable::Symbol symbol) const {
    return jpeg_coefficient(buffer << symbol.length(), symbol.size());
  }

  bool ac_coefficient(const JpegHuffmanTable& table, uint32_t* at, JCOEF* block) {
    JpegHuffmanTable::Symbol symbol;
    if (!take(table, &symbol)) return false;
    *at += symbol.skip();
    // If there is none, this stores a zero in a place that is still zero.
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
    while (at < 64) {  // from here, the next symbol may belong to the next block
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
        // Without an end-of-block, the symbols after the 64th are not this block's.
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

// libjpeg has just created its own entropy decoder, and is about to start it.
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
    // Must not pass through libjpeg's frames: it manages without our memory.
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

// A byte 0xff in the data is followed by a zero, so that it is not a marker; restart markers number
// the segments, and the first other marker ends the scan (ITU T.81, B.1.1).
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
    // Anything read past the end was zeros, or the next segment.
    if (bits.next - end_ > static_cast<ptrdiff_t>(bits.buffered / 8)) return false;
  }
  buffer_ = bits.buffer;
  buffered_ = bits.buffered;
  next_ = bits.next;
  return true;
}

}  // namespace gluon_resnet
