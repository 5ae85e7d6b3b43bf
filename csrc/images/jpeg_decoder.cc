#include "images/jpeg_decoder.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
// libjpeg's header needs <cstdio> before it.
#include <jerror.h>

#include "base/error.h"
#include "images/exif.h"

namespace gluon_resnet {
namespace {

// In pixels: twice half of the coarsest chroma that libjpeg smooths.
constexpr int kChromaReach = 4;

[[noreturn]] void fail(const char* message) {
  throw Error(ErrorKind::kImage, concat("bad JPEG: ", message));
}

// As in OpenCV: Adobe's CMYK is stored inverted.
void cmyk_row_to_rgb(const uint8_t* cmyk, int width, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int k = cmyk[3];
    for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>(k - (((255 - cmyk[c]) * k) >> 8));
  }
}

uint8_t luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 4899 + rgb[1] * 9617 + rgb[2] * 1868 + (1 << 13)) >> 14);
}

// Each scan of a progressive file passes over the whole image, even if it has only a few bytes: a
// file of 30 kB can keep a processor busy for minutes. This allows 16 scans of the largest image
// and 85 of one with 50 million pixels; cameras and encoders write about ten.
constexpr int64_t kMaxScannedPixels = int64_t{1} << 32;
constexpr int64_t kScanOverhead = 1 << 16;  // the fixed cost of a scan, in pixels

void limit_scans(j_common_ptr codec) {
  const auto* decoder = reinterpret_cast<j_decompress_ptr>(codec);
  const int64_t pixels = int64_t{decoder->image_width} * decoder->image_height;
  if (decoder->input_scan_number * std::max(pixels, kScanOverhead) <= kMaxScannedPixels) return;
  auto* errors = reinterpret_cast<JpegErrors*>(codec->err);
  std::snprintf(errors->message, sizeof errors->message, "too many scans for its %ux%u pixels",
                decoder->image_width, decoder->image_height);
  std::longjmp(errors->leave, 1);
}

void emit_message(j_common_ptr codec, int level) {
  if (level >= 0) return;  // a trace
  switch (codec->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
      if (reinterpret_cast<JpegErrors*>(codec->err)->partial) {
        ++codec->err->num_warnings;
        return;
      }
      jpeg_leave(codec);
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_NOT_SEQUENTIAL:
      jpeg_leave(codec);  // pixels would be missing
    default:
      return;  // oddities that cost no pixels: extraneous bytes, unknown versions of Adobe markers
  }
}

}  // namespace

JpegDecoder::JpegDecoder(const DecodeOptions& options) : options_(options) {
  errors_.partial = options.partial;
  progress_.progress_monitor = limit_scans;
  create();
}

JpegDecoder::~JpegDecoder() { jpeg_destroy_decompress(&codec_); }

void JpegDecoder::create() {
  codec_.err = jpeg_std_error(&errors_.manager);
  errors_.manager.error_exit = jpeg_leave;
  errors_.manager.emit_message = emit_message;
  jpeg_create_decompress(&codec_);
  codec_.progress = &progress_;
  entropy_.attach(&codec_);
  jpeg_save_markers(&codec_, JPEG_APP0 + 1, 0xffff);  // EXIF
}

ImageSize JpegDecoder::open(const uint8_t* bytes, size_t size) {
  bytes_ = bytes;
  size_ = size;
  entropy_.set_enabled(!options_.libjpeg);
  return read_header();
}

ImageSize JpegDecoder::read_header() {
  if (setjmp(errors_.leave) != 0) fail(errors_.message);
  // A codec keeps its tables between images: an image without its own would use another's.
  jpeg_destroy_decompress(&codec_);
  create();
  jpeg_mem_src(&codec_, bytes_, size_);
  jpeg_read_header(&codec_, TRUE);
  orientation_ = find_orientation();
  return shrink(1);
}

int JpegDecoder::find_orientation() const {
  for (const jpeg_marker_struct* marker = codec_.marker_list; marker != nullptr;
       marker = marker->next) {
    if (marker->data_length > 6 && std::memcmp(marker->data, "Exif\0\0", 6) == 0) {
      return exif_orientation(marker->data + 6, marker->data_length - 6);
    }
  }
  return 1;
}

ImageSize JpegDecoder::shrink(int factor) {
  codec_.scale_num = 1;
  codec_.scale_denom = static_cast<unsigned>(factor);
  jpeg_calc_output_dimensions(&codec_);
  return {static_cast<int>(codec_.output_width), static_cast<int>(codec_.output_height)};
}

// libjpeg-turbo writes aligned rows past the caches, and they would be read back from memory.
void JpegDecoder::reserve_rows() {
  constexpr size_t kAlignment = 64;
  const size_t bytes = (size_t{4} * codec_.output_width + kAlignment - 1) / kAlignment * kAlignment;
  row_bytes_.resize(rows_.size() * bytes + 1);
  for (size_t i = 0; i < rows_.size(); ++i) rows_[i] = &row_bytes_[i * bytes + 1];
}

// Where a progressive file lacks scans, libjpeg smooths between blocks, and does so differently at
// the edge of a region than inside the whole image.
bool JpegDecoder::smooths_blocks() const {
  if (!codec_.progressive_mode) return false;
  for (int c = 0; c < codec_.num_components; ++c) {
    const int* const missing_bits = codec_.coef_bits[c];
    if (std::any_of(missing_bits + 1, missing_bits + DCTSIZE2, [](int bits) { return bits != 0; }))
      return true;
  }
  return false;
}

// After an error: whether it was the entropy decoder giving up, so that libjpeg now works alone.
bool JpegDecoder::retry() {
  jpeg_abort_decompress(&codec_);
  if (!entropy_.gave_up()) return false;
  const auto factor = static_cast<int>(codec_.scale_denom);
  entropy_.set_enabled(false);
  read_header();
  shrink(factor);
  return true;
}

void JpegDecoder::decode(const Region& region, Image* image) {
  reserve_rows();
  read_region(region, image);
}

// No object with a destructor may live in here: a longjmp would skip it.
void JpegDecoder::read_region(const Region& region, Image* image) {
  if (setjmp(errors_.leave) != 0) {
    if (!retry()) fail(errors_.message);
    read_region(region, image);
    return;
  }
  const bool cmyk = codec_.num_components == 4;
  if (options_.fast) codec_.do_fancy_upsampling = FALSE;
  codec_.out_color_space = cmyk ? JCS_CMYK : image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&codec_);
  // Chroma is interpolated from neighbours: at the edge of the decoded part it would be wrong.
  const bool whole = smooths_blocks();
  const int left = whole ? 0 : std::max(0, region.x - kChromaReach);
  const int top = whole ? 0 : std::max(0, region.y - kChromaReach);
  auto first_column = static_cast<JDIMENSION>(left);
  if (!whole && region.width < static_cast<int>(codec_.output_width)) {
    JDIMENSION columns = std::min<JDIMENSION>(region.x + region.width + kChromaReach - left,
                                              codec_.output_width - first_column);
    jpeg_crop_scanline(&codec_, &first_column, &columns);
    const int mcu = codec_.min_DCT_scaled_size * (gray() ? 1 : codec_.max_h_samp_factor);
    entropy_.need_columns(first_column / mcu, (first_column + columns - 1) / mcu);
  }
  if (top > 0) jpeg_skip_scanlines(&codec_, static_cast<JDIMENSION>(top));
  const size_t offset = (cmyk ? 4 : image->channels) * (region.x - size_t{first_column});
  while (static_cast<int>(codec_.output_scanline) < region.y + region.height) {
    int y = static_cast<int>(codec_.output_scanline) - region.y;
    const JDIMENSION count = jpeg_read_scanlines(&codec_, rows_.data(), rows_.size());
    for (JDIMENSION i = 0; i < count; ++i, ++y) {
      if (y < 0 || y >= region.height) continue;
      store_row(rows_[i] + offset, region.width, image->channels, image->row(y));
    }
  }
  // Not jpeg_finish_decompress: the data after the region may be missing.
  jpeg_abort_decompress(&codec_);
}

void JpegDecoder::store_row(const uint8_t* row, int width, int channels, uint8_t* out) const {
  if (codec_.num_components != 4) {
    std::memcpy(out, row, static_cast<size_t>(width) * channels);
  } else if (channels == 3) {
    cmyk_row_to_rgb(row, width, out);
  } else {
    for (int x = 0; x < width; ++x) {
      uint8_t rgb[3];
      cmyk_row_to_rgb(row + 4 * x, 1, rgb);
      out[x] = luma(rgb);
    }
  }
}

// All of the entropy-coded data are read, as for a full decode, but only one pixel in 64 is
// computed, and with our own entropy decoder no coefficients are.
void JpegDecoder::verify() {
  reserve_rows();
  if (setjmp(errors_.leave) != 0) {
    if (!retry()) fail(errors_.message);
    verify();
    return;
  }
  shrink(8);
  codec_.out_color_space = codec_.num_components == 4 ? JCS_CMYK : gray() ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&codec_);
  entropy_.need_columns(1, 0);  // none
  while (codec_.output_scanline < codec_.output_height) {
    jpeg_read_scanlines(&codec_, rows_.data(), rows_.size());
  }
  jpeg_abort_decompress(&codec_);
}

}  // namespace gluon_resnet
