// Huffman decoding for libjpeg-turbo, in place of its own: most of the time of a JPEG goes there.
#ifndef GLUON_RESNET_JPEG_ENTROPY_H_
#define GLUON_RESNET_JPEG_ENTROPY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>
// libjpeg's headers need <cstdio> before them. The second one describes the modules that a decoder
// is made of; it is not libjpeg's public interface, but the same in every libjpeg-turbo so far.
#include <jpeglib.h>
//
#include <jpegint.h>

#include "images/jpeg_huffman.h"

namespace gluon_resnet {

// Decodes the one scan of a baseline JPEG, two times as fast as libjpeg-turbo 2.1, and gives up at
// whatever a healthy file does not have: libjpeg then decodes it anew and finds the words. It reads
// from memory only. Attached to a codec it must stay where it is; one per codec.
class JpegEntropyDecoder {
 public:
  JpegEntropyDecoder() = default;
  JpegEntropyDecoder(const JpegEntropyDecoder&) = delete;
  JpegEntropyDecoder& operator=(const JpegEntropyDecoder&) = delete;

  // Once, after jpeg_create_decompress(); uses the codec's client_data.
  void attach(jpeg_decompress_struct* codec);

  // Before jpeg_start_decompress(): whether libjpeg is to decode itself.
  void set_enabled(bool enabled) {
    enabled_ = enabled;
    gave_up_ = false;
  }

  // After jpeg_start_decompress(): of the other MCU columns no coefficient is needed.
  void need_columns(JDIMENSION first, JDIMENSION last);

  // Whether it gave up, by jpeg_leave().
  bool gave_up() const { return gave_up_; }

 private:
  using Table = std::unique_ptr<JpegHuffmanTable>;  // when it is needed: they are large
  struct Bits;
  struct Segment {  // between two restart markers
    size_t begin;
    size_t end;
  };

  static JpegEntropyDecoder& of(j_decompress_ptr codec);
  static void start_input_pass(j_decompress_ptr codec);
  static void start_pass(j_decompress_ptr codec);
  static boolean decode_mcu(j_decompress_ptr codec, JBLOCKROW* blocks);

  static bool assign(const JHUFF_TBL& table, bool dc, Table* to);
  bool prepare(j_decompress_ptr codec);
  bool unstuff(const uint8_t* bytes, size_t size);
  bool start_segment();
  bool decode(j_decompress_ptr codec, JBLOCKROW* blocks);

  jpeg_entropy_decoder module_{};  // what libjpeg calls
  jpeg_entropy_decoder* libjpegs_ = nullptr;
  void (*libjpegs_start_input_pass_)(j_decompress_ptr codec) = nullptr;
  bool enabled_ = true;
  bool gave_up_ = false;

  std::array<Table, NUM_HUFF_TBLS> dc_tables_;
  std::array<Table, NUM_HUFF_TBLS> ac_tables_;
  std::vector<uint8_t> data_;  // the scan without stuffed zeros and markers
  std::vector<Segment> segments_;

  struct Block {
    JpegHuffmanTable* dc;
    JpegHuffmanTable* ac;
    int component;
  };
  std::array<Block, D_MAX_BLOCKS_IN_MCU> blocks_{};
  std::array<uint32_t, MAX_COMPS_IN_SCAN> last_dc_{};
  size_t next_segment_ = 0;
  uint32_t mcus_to_restart_ = 0;
  JDIMENSION column_ = 0;
  JDIMENSION first_column_ = 0;
  JDIMENSION last_column_ = 0;

  // The next bits, left-aligned, and how many of them there are; where the ones behind them are.
  uint64_t buffer_ = 0;
  uint32_t buffered_ = 0;
  const uint8_t* next_ = nullptr;
  const uint8_t* end_ = nullptr;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_JPEG_ENTROPY_H_
