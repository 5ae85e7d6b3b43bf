// Decodes JPEG with libjpeg-turbo, using our own entropy decoder where possible.
#ifndef GLUON_RESNET_JPEG_DECODER_H_
#define GLUON_RESNET_JPEG_DECODER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "images/decode_options.h"
#include "images/image.h"
#include "images/jpeg_entropy.h"
#include "images/jpeg_error.h"

namespace gluon_resnet {

// Decodes one image at a time, as stored: not turned upright. Throws Error(kImage).
class JpegDecoder {
 public:
  explicit JpegDecoder(const DecodeOptions& options);
  ~JpegDecoder();
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  // `bytes` must stay valid until decode() is done.
  ImageSize open(const uint8_t* bytes, size_t size);
  int orientation() const { return orientation_; }
  bool gray() const { return codec_.num_components == 1; }

  // See Decoder.
  ImageSize shrink(int factor);
  void verify();
  bool cut_short() const { return errors_.manager.num_warnings > 0; }

  // Decodes into an image that already has the region's size, and one channel or three.
  void decode(const Region& region, Image* image);

 private:
  void create();
  ImageSize read_header();
  int find_orientation() const;
  void reserve_rows();
  bool smooths_blocks() const;
  bool retry();
  void read_region(const Region& region, Image* image);
  void store_row(const uint8_t* row, int width, int channels, uint8_t* out) const;

  const DecodeOptions options_;
  const uint8_t* bytes_ = nullptr;
  size_t size_ = 0;
  int orientation_ = 1;
  jpeg_decompress_struct codec_;
  JpegErrors errors_;
  jpeg_progress_mgr progress_;
  JpegEntropyDecoder entropy_;
  std::vector<uint8_t> row_bytes_;
  std::array<JSAMPROW, 4> rows_;  // libjpeg returns no more at once
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_JPEG_DECODER_H_
