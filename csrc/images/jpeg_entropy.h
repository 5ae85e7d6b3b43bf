// Replaces libjpeg-turbo's Huffman decoding, which takes most of the time of decoding a JPEG.
#ifndef GLUON_RESNET_JPEG_ENTROPY_H_
#define GLUON_RESNET_JPEG_ENTROPY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>
// libjpeg's headers need <cstdio> before them. The second one declares the modules of a decoder; it
// is not part of libjpeg's public interface, but has been the same in every libjpeg-turbo so far.
#include <jpeglib.h>
//
#include <jpegint.h>

#include "images/jpeg_huffman.h"

namespace gluon_resnet {

// Decodes the single scan of a baseline JPEG, twice as fast as libjpeg-turbo 2.1, and gives up on
// anything that a healthy file does not have: libjpeg then decodes it again and reports what is
// wrong. It reads only from memory. Once attached to a codec it must not move; one per codec.
class JpegEntropyDecoder {
 public:
  JpegEntropyDecoder() = default;
  JpegEntropyDecoder(const JpegEntropyDecoder&) = delete;
  JpegEntropyDecoder& operator=(const JpegEntropyDecoder&) = delete;

  // To be called once, after jpeg_create_decompress(); uses the codec's client_data.
  void attach(jpeg_decompress_struct* codec);

  // To be called before jpeg_start_decompress(): whether libjpeg is to decode by itself.
  void set_enabled(bool enabled) {
    enabled_ = enabled;
    gave_up_ = false;
  }

  // To be called after jpeg_start_decompress(): the other MCU columns need no coefficients.
  void need_columns(JDIMENSION first, JDIMENSION last);

  // Whether it gave up, through jpeg_leave().
  bool gave_up() const { return gave_up_; }

 private:
  using Table = std::unique_ptr<JpegHuffmanTable>;  // allocated when needed: they are large
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

  jpeg_entropy_decoder module_{};  // called by libjpeg
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

  // The next bits, left-aligned, their number, and where the following ones are.
  uint64_t buffer_ = 0;
  uint32_t buffered_ = 0;
  const uint8_t* next_ = nullptr;
  const uint8_t* end_ = nullptr;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_JPEG_ENTROPY_H_
