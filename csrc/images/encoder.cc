#include "images/encoder.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
// The C headers of the codecs need <cstdio> before them.
#include <jpeglib.h>
#include <png.h>

#include "base/error.h"
#include "images/jpeg_error.h"

namespace gluon_resnet {
namespace {

struct PngOutput {
  std::vector<uint8_t>* bytes;
  char message[128];
};

[[noreturn]] void png_leave(png_structp png, png_const_charp message) {
  auto* output = static_cast<PngOutput*>(png_get_error_ptr(png));
  std::snprintf(output->message, sizeof(output->message), "%s", message);
  png_longjmp(png, 1);
}

void png_append(png_structp png, png_bytep data, png_size_t size) {
  bool stored = false;
  try {
    std::vector<uint8_t>& bytes = *static_cast<PngOutput*>(png_get_io_ptr(png))->bytes;
    bytes.insert(bytes.end(), data, data + size);
    stored = true;
  } catch (const std::bad_alloc&) {  // exceptions must not pass through libpng's frames
  }
  if (!stored) png_error(png, "out of memory");
}

}  // namespace

struct Encoder::Impl {
  Impl() {
    jpeg.err = jpeg_std_error(&jpeg_errors.manager);
    jpeg_errors.manager.error_exit = jpeg_leave;
    jpeg_errors.manager.emit_message = [](j_common_ptr, int) {};
    jpeg_create_compress(&jpeg);
  }
  ~Impl() { jpeg_destroy_compress(&jpeg); }

  // No object with a destructor may live in here: a longjmp would skip it.
  void run_jpeg(const Image& image, int quality, unsigned char** out, unsigned long* size) {
    if (setjmp(jpeg_errors.leave) != 0) {
      jpeg_abort_compress(&jpeg);
      throw Error(ErrorKind::kImage, concat("cannot encode as JPEG: ", jpeg_errors.message));
    }
    jpeg_mem_dest(&jpeg, out, size);
    jpeg.image_width = static_cast<JDIMENSION>(image.width);
    jpeg.image_height = static_cast<JDIMENSION>(image.height);
    jpeg.input_components = image.channels;
    jpeg.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, quality, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    jpeg_write_scanlines(&jpeg, rows.data(), jpeg.image_height);
    jpeg_finish_compress(&jpeg);
  }

  void run_png(png_structp png, png_infop info, const Image& image, int level) {
    if (setjmp(png_jmpbuf(png)) != 0) {
      throw Error(ErrorKind::kImage, concat("cannot encode as PNG: ", png_output.message));
    }
    png_set_write_fn(png, &png_output, png_append, nullptr);
    png_set_compression_level(png, level);
    png_set_IHDR(png, info, image.width, image.height, 8,
                 image.channels == 1   ? PNG_COLOR_TYPE_GRAY
                 : image.channels == 4 ? PNG_COLOR_TYPE_RGB_ALPHA
                                       : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < image.height; ++y) png_write_row(png, image.row(y));
    png_write_end(png, info);
  }

  jpeg_compress_struct jpeg;
  JpegErrors jpeg_errors;
  std::vector<JSAMPROW> rows;
  std::unique_ptr<uint8_t[]> buffer;  // not a vector, which would be zeroed each time
  size_t capacity = 0;
  PngOutput png_output{};
};

Encoder::Encoder() : impl_(new Impl) {}
Encoder::~Encoder() = default;

void Encoder::jpeg(const Image& image, int quality, std::vector<uint8_t>* bytes) {
  // Larger than any JPEG of this size; should libjpeg need more, it allocates its own buffer.
  const size_t rounded = ((image.width + 15) & ~size_t{15}) * ((image.height + 15) & ~size_t{15});
  const size_t needed = rounded * 6 + 2048;
  if (impl_->capacity < needed) {
    impl_->capacity = 0;
    impl_->buffer.reset(new uint8_t[needed]);
    impl_->capacity = needed;
  }
  impl_->rows.resize(image.height);
  for (int y = 0; y < image.height; ++y) impl_->rows[y] = const_cast<uint8_t*>(image.row(y));
  unsigned char* out = impl_->buffer.get();
  unsigned long size = impl_->capacity;
  impl_->run_jpeg(image, quality, &out, &size);
  bytes->assign(out, out + size);
  if (out != impl_->buffer.get()) std::free(out);
}

void Encoder::png(const Image& image, int level, std::vector<uint8_t>* bytes) {
  bytes->clear();
  impl_->png_output.bytes = bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &impl_->png_output, png_leave,
                                            [](png_structp, png_const_charp) {});
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  const auto destroy = [&](void*) { png_destroy_write_struct(&png, &info); };
  const std::unique_ptr<void, decltype(destroy)> guard(png, destroy);
  if (info == nullptr) throw std::bad_alloc();
  impl_->run_png(png, info, image, level);
}

}  // namespace gluon_resnet
