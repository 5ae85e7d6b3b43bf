#include "decoder.h"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
// The C headers of the codecs need <cstdio> before them.
#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#include "error.h"
#include "jpeg_entropy.h"
#include "jpeg_error.h"

namespace gluon_resnet {
namespace {

// In pixels: half of the coarsest chroma that libjpeg smooths, twice.
constexpr int kChromaReach = 4;

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kImage, message); }

void check_size(int64_t width, int64_t height) {
  if (width * height > kMaxPixels) {
    fail(concat("the image has ", width, "x", height, " pixels; at most ", kMaxPixels,
                " are decoded"));
  }
}

// The orientation, 1 to 8, in EXIF data that starts with a TIFF header; 1 where it has none.
int exif_orientation(const uint8_t* tiff, size_t size) {
  if (size < 14) return 1;
  const bool little = tiff[0] == 'I' && tiff[1] == 'I';
  if (!little && !(tiff[0] == 'M' && tiff[1] == 'M')) return 1;
  const auto number = [&](size_t at, size_t bytes) {
    size_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      value |= size_t{tiff[at + i]} << 8 * (little ? i : bytes - 1 - i);
    }
    return value;
  };
  const size_t directory = number(4, 4);
  if (directory > size - 2) return 1;
  const size_t count = number(directory, 2);
  for (size_t i = 0, at = directory + 2; i < count && at + 12 <= size; ++i, at += 12) {
    if (number(at, 2) != 0x0112) continue;
    const size_t value = number(at + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

// Orientations 5 to 8 exchange width and height.
bool turns(int orientation) { return orientation >= 5; }

void make_upright(const Image& source, int orientation, Image* target) {
  const int channels = source.channels;
  target->reshape(turns(orientation) ? source.height : source.width,
                  turns(orientation) ? source.width : source.height, channels);
  const int last_x = source.width - 1;
  const int last_y = source.height - 1;
  for (int y = 0; y < target->height; ++y) {
    uint8_t* out = target->row(y);
    for (int x = 0; x < target->width; ++x, out += channels) {
      int from_x = turns(orientation) ? y : x;
      int from_y = turns(orientation) ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) {
        from_x = last_x - from_x;
      }
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {
        from_y = last_y - from_y;
      }
      std::memcpy(out, source.row(from_y) + static_cast<size_t>(from_x) * channels, channels);
    }
  }
}

// As OpenCV does it: Adobe's CMYK is stored inverted.
void cmyk_row_to_rgb(const uint8_t* cmyk, int width, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    const int k = cmyk[3];
    for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>(k - (((255 - cmyk[c]) * k) >> 8));
  }
}

uint8_t luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 4899 + rgb[1] * 9617 + rgb[2] * 1868 + (1 << 13)) >> 14);
}

void jpeg_message(j_common_ptr codec, int level) {
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
      return;  // oddities that cost no pixel: extraneous bytes, Adobe markers of an unknown version
  }
}

struct PngInput {
  const uint8_t* at;
  size_t left;
  char message[128];
};

[[noreturn]] void png_leave(png_structp png, png_const_charp message) {
  auto* input = static_cast<PngInput*>(png_get_error_ptr(png));
  std::snprintf(input->message, sizeof(input->message), "%s", message);
  png_longjmp(png, 1);
}

void png_read(png_structp png, png_bytep out, png_size_t size) {
  auto* input = static_cast<PngInput*>(png_get_io_ptr(png));
  if (input->left < size) png_error(png, "the data ends early; the file has been cut short");
  std::memcpy(out, input->at, size);
  input->at += size;
  input->left -= size;
}

// libpng asks for a chunk's memory, up to 2 GiB, before it finds that the chunk is not there.
void check_png_chunks(const uint8_t* bytes, size_t size) {
  constexpr size_t kSignature = 8;
  constexpr size_t kHeader = 8;
  constexpr size_t kChecksum = 4;
  for (size_t at = kSignature; size - at >= kHeader;) {
    const size_t length = png_get_uint_32(bytes + at);
    const size_t left = size - at - kHeader;
    if (length > left) fail("bad PNG: the data ends early; the file has been cut short");
    if (std::memcmp(bytes + at + 4, "IEND", 4) == 0) return;
    at += kHeader + std::min(length + kChecksum, left);
  }
}

}  // namespace

struct Decoder::Impl {
  explicit Impl(const DecodeOptions& options) : options(options) {
    jpeg_errors.partial = options.partial;
    create_jpeg();
  }
  ~Impl() {
    jpeg_destroy_decompress(&jpeg);
    close_png();
  }

  void create_jpeg() {
    jpeg.err = jpeg_std_error(&jpeg_errors.manager);
    jpeg_errors.manager.error_exit = jpeg_leave;
    jpeg_errors.manager.emit_message = jpeg_message;
    jpeg_create_decompress(&jpeg);
    entropy.attach(&jpeg);
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xffff);  // EXIF
  }

  ImageSize open_jpeg(const uint8_t* bytes, size_t size) {
    source = bytes;
    source_size = size;
    if (setjmp(jpeg_errors.leave) != 0) fail(concat("bad JPEG: ", jpeg_errors.message));
    // A codec keeps its tables from image to image: one that lacks its own would get another's.
    jpeg_destroy_decompress(&jpeg);
    create_jpeg();
    jpeg_mem_src(&jpeg, bytes, size);
    jpeg_read_header(&jpeg, TRUE);
    orientation = 1;
    for (jpeg_saved_marker_ptr marker = jpeg.marker_list; marker != nullptr;
         marker = marker->next) {
      if (marker->data_length > 6 && std::memcmp(marker->data, "Exif\0\0", 6) == 0) {
        orientation = exif_orientation(marker->data + 6, marker->data_length - 6);
        break;
      }
    }
    return shrink_jpeg(1);
  }

  ImageSize shrink_jpeg(int factor) {
    jpeg.scale_num = 1;
    jpeg.scale_denom = static_cast<unsigned>(factor);
    jpeg_calc_output_dimensions(&jpeg);
    return {static_cast<int>(jpeg.output_width), static_cast<int>(jpeg.output_height)};
  }

  // Into aligned rows libjpeg-turbo writes past the caches, and they would come back from memory.
  void reserve_scanlines() {
    constexpr size_t kAlignment = 64;
    const size_t bytes = (size_t{4} * stored.width + kAlignment - 1) / kAlignment * kAlignment;
    scanline_bytes.resize(scanlines.size() * bytes + 1);
    for (size_t i = 0; i < scanlines.size(); ++i) scanlines[i] = &scanline_bytes[i * bytes + 1];
  }

  // Where a progressive file leaves out scans, libjpeg smooths from block to block, and at the edge
  // of a part otherwise than inside of the whole.
  bool smooths_blocks() const {
    if (!jpeg.progressive_mode) return false;
    for (int c = 0; c < jpeg.num_components; ++c) {
      const int* const missing_bits = jpeg.coef_bits[c];
      if (std::any_of(missing_bits + 1, missing_bits + DCTSIZE2,
                      [](int bits) { return bits != 0; }))
        return true;
    }
    return false;
  }

  // No object with a destructor may live in here: a longjmp would pass it over.
  void run_jpeg(bool gray, const Region& region, Image* image) {
    if (setjmp(jpeg_errors.leave) != 0) {
      jpeg_abort_decompress(&jpeg);
      if (entropy.gave_up()) {
        run_jpeg_again(gray, region, image);
        return;
      }
      fail(concat("bad JPEG: ", jpeg_errors.message));
    }
    const bool cmyk = jpeg.num_components == 4;
    if (options.fast) jpeg.do_fancy_upsampling = FALSE;
    jpeg.out_color_space = cmyk ? JCS_CMYK : gray ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&jpeg);
    // Chroma is interpolated from neighbours: at the edge of what is decoded it would be wrong.
    const bool whole = smooths_blocks();
    const int left = whole ? 0 : std::max(0, region.x - kChromaReach);
    const int top = whole ? 0 : std::max(0, region.y - kChromaReach);
    JDIMENSION first_column = static_cast<JDIMENSION>(left);
    if (!whole && region.width < static_cast<int>(jpeg.output_width)) {
      JDIMENSION columns = std::min<JDIMENSION>(region.x + region.width + kChromaReach - left,
                                                jpeg.output_width - first_column);
      jpeg_crop_scanline(&jpeg, &first_column, &columns);
      const int mcu =
          jpeg.min_DCT_scaled_size * (jpeg.num_components == 1 ? 1 : jpeg.max_h_samp_factor);
      entropy.need_columns(first_column / mcu, (first_column + columns - 1) / mcu);
    }
    if (top > 0) jpeg_skip_scanlines(&jpeg, static_cast<JDIMENSION>(top));
    const size_t offset = (cmyk ? 4 : image->channels) * (region.x - size_t{first_column});
    while (static_cast<int>(jpeg.output_scanline) < region.y + region.height) {
      int y = static_cast<int>(jpeg.output_scanline) - region.y;
      const JDIMENSION count = jpeg_read_scanlines(&jpeg, scanlines.data(), scanlines.size());
      for (JDIMENSION i = 0; i < count; ++i, ++y) {
        if (y < 0 || y >= region.height) continue;
        if (cmyk) {
          store_cmyk_row(gray, scanlines[i] + offset, region.width, image->row(y));
        } else {
          std::memcpy(image->row(y), scanlines[i] + offset, image->row_bytes());
        }
      }
    }
    // Not jpeg_finish_decompress: every pixel is there, even if the end-of-image marker is not.
    jpeg_abort_decompress(&jpeg);
  }

  // As libjpeg alone does it.
  void run_jpeg_again(bool gray, const Region& region, Image* image) {
    const auto factor = static_cast<int>(jpeg.scale_denom);
    entropy.set_enabled(false);
    open_jpeg(source, source_size);
    shrink_jpeg(factor);
    run_jpeg(gray, region, image);
  }

  // All of the entropy-coded data is read, as for whole pixels, but only one pixel of 64 is
  // computed, and where the entropy decoder is ours that is without coefficients.
  void verify_jpeg() {
    if (setjmp(jpeg_errors.leave) != 0) {
      jpeg_abort_decompress(&jpeg);
      if (!entropy.gave_up()) fail(concat("bad JPEG: ", jpeg_errors.message));
      entropy.set_enabled(false);
      open_jpeg(source, source_size);
      verify_jpeg();
      return;
    }
    jpeg.out_color_space = jpeg.num_components == 4   ? JCS_CMYK
                           : jpeg.num_components == 1 ? JCS_GRAYSCALE
                                                      : JCS_RGB;
    jpeg.scale_num = 1;
    jpeg.scale_denom = 8;
    jpeg_start_decompress(&jpeg);
    entropy.need_columns(1, 0);  // none
    while (jpeg.output_scanline < jpeg.output_height) {
      jpeg_read_scanlines(&jpeg, scanlines.data(), scanlines.size());
    }
    jpeg_abort_decompress(&jpeg);
  }

  static void store_cmyk_row(bool gray, const uint8_t* cmyk, int width, uint8_t* out) {
    if (!gray) {
      cmyk_row_to_rgb(cmyk, width, out);
      return;
    }
    for (int x = 0; x < width; ++x) {
      uint8_t rgb[3];
      cmyk_row_to_rgb(cmyk + 4 * x, 1, rgb);
      out[x] = luma(rgb);
    }
  }

  ImageSize open_png(const uint8_t* bytes, size_t size) {
    close_png();
    check_png_chunks(bytes, size);
    png_input = {bytes, size, {}};
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &png_input, png_leave,
                                 [](png_structp, png_const_charp) {});
    if (png == nullptr) throw std::bad_alloc();
    png_info = png_create_info_struct(png);
    if (png_info == nullptr) throw std::bad_alloc();
    if (setjmp(png_jmpbuf(png)) != 0) fail(concat("bad PNG: ", png_input.message));
    png_set_read_fn(png, &png_input, png_read);
    png_read_info(png, png_info);
    orientation = 1;
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 exif_size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png, png_info, &exif_size, &exif) != 0) {
      orientation = exif_orientation(exif, exif_size);
    }
#endif
    return {static_cast<int>(png_get_image_width(png, png_info)),
            static_cast<int>(png_get_image_height(png, png_info))};
  }

  bool png_is_gray() const {
    return (png_get_color_type(png, png_info) & PNG_COLOR_MASK_COLOR) == 0;
  }

  void run_png(bool gray, Image* image) {
    if (setjmp(png_jmpbuf(png)) != 0) {
      fail(concat("bad PNG: ", png_input.message));
    }
    const bool source_gray = png_is_gray();
    if (png_get_bit_depth(png, png_info) == 16) png_set_strip_16(png);
    png_set_strip_alpha(png);
    if (png_get_color_type(png, png_info) == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (source_gray) png_set_expand_gray_1_2_4_to_8(png);
    if (source_gray && !gray) png_set_gray_to_rgb(png);
    if (!source_gray && gray) png_set_rgb_to_gray(png, PNG_ERROR_ACTION_NONE, 0.299, 0.587);
    png_set_interlace_handling(png);
    png_read_update_info(png, png_info);
    if (png_get_rowbytes(png, png_info) != image->row_bytes()) {
      png_error(png, "rows of an unexpected length");
    }
    png_read_image(png, rows.data());
    png_read_end(png, nullptr);
  }

  void close_png() {
    if (png != nullptr) png_destroy_read_struct(&png, &png_info, nullptr);
  }

  ImageSize upright_size() const {
    return turns(orientation) ? ImageSize{stored.height, stored.width} : stored;
  }

  DecodeOptions options;
  Format format = Format::kOther;
  ImageSize stored;  // of what decode() gives, before it is turned upright
  int orientation = 1;
  Image turned;   // as it is stored
  Image upright;  // of which a region is wanted

  const uint8_t* source = nullptr;
  size_t source_size = 0;
  jpeg_decompress_struct jpeg;
  JpegErrors jpeg_errors;
  JpegEntropyDecoder entropy;
  std::vector<uint8_t> scanline_bytes;
  std::array<JSAMPROW, 4> scanlines;  // more libjpeg does not give at once

  png_structp png = nullptr;
  png_infop png_info = nullptr;
  PngInput png_input{};
  std::vector<png_bytep> rows;
};

Decoder::Decoder(const DecodeOptions& options) : impl_(new Impl(options)) {}
Decoder::~Decoder() = default;

ImageSize Decoder::open(const uint8_t* bytes, size_t size) {
  Impl& impl = *impl_;
  impl.format = sniff_format(bytes, size);
  switch (impl.format) {
    case Format::kJpeg:
      impl.entropy.set_enabled(!impl.options.libjpeg);
      impl.stored = impl.open_jpeg(bytes, size);
      break;
    case Format::kPng:
      impl.stored = impl.open_png(bytes, size);
      break;
    case Format::kOther:
      fail(concat("expected a JPEG or PNG image, found a format that is ",
                  describe_format(bytes, size),
                  "; convert it, or pack it anew with tools/im2rec.py, which does"));
  }
  check_size(impl.stored.width, impl.stored.height);
  return impl.upright_size();
}

ImageSize Decoder::shrink(int factor) {
  Impl& impl = *impl_;
  if (impl.format == Format::kJpeg) {
    impl.stored = impl.shrink_jpeg(factor);
  }
  return impl.upright_size();
}

bool Decoder::cut_short() const {
  return impl_->format == Format::kJpeg && impl_->jpeg_errors.manager.num_warnings > 0;
}

void Decoder::decode(Color color, Image* image) {
  const ImageSize size = impl_->upright_size();
  decode(color, {0, 0, size.width, size.height}, image);
}

void Decoder::verify() {
  if (impl_->format != Format::kJpeg) {
    decode(Color::kSource, &impl_->upright);
    return;
  }
  impl_->reserve_scanlines();
  impl_->verify_jpeg();
}

void Decoder::decode(Color color, const Region& region, Image* image) {
  Impl& impl = *impl_;
  const bool jpeg = impl.format == Format::kJpeg;
  const bool source_gray = jpeg ? impl.jpeg.num_components == 1 : impl.png_is_gray();
  const bool gray = color == Color::kGray || (color == Color::kSource && source_gray);
  const int channels = gray ? 1 : 3;
  if (jpeg) {
    impl.reserve_scanlines();
    if (impl.orientation == 1) {
      image->reshape(region.width, region.height, channels);
      impl.run_jpeg(gray, region, image);
      return;
    }
  }
  // Whole, and then cut: PNG, and the few that have to be turned.
  const bool whole =
      region.width * int64_t{region.height} == impl.stored.width * int64_t{impl.stored.height};
  Image* const upright = whole ? image : &impl.upright;
  Image* const stored = impl.orientation == 1 ? upright : &impl.turned;
  stored->reshape(impl.stored.width, impl.stored.height, channels);
  if (jpeg) {
    impl.run_jpeg(gray, {0, 0, stored->width, stored->height}, stored);
  } else {
    impl.rows.resize(stored->height);
    for (int y = 0; y < stored->height; ++y) impl.rows[y] = stored->row(y);
    impl.run_png(gray, stored);
  }
  if (impl.orientation != 1) make_upright(impl.turned, impl.orientation, upright);
  if (whole) return;
  image->reshape(region.width, region.height, channels);
  for (int y = 0; y < region.height; ++y) {
    const size_t column = static_cast<size_t>(region.x) * channels;
    std::memcpy(image->row(y), upright->row(region.y + y) + column, image->row_bytes());
  }
}

}  // namespace gluon_resnet
