#include "images/png_decoder.h"

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <new>

#include "base/error.h"
#include "images/chunks.h"

namespace gluon_resnet {
namespace {

[[noreturn]] void fail(const char* message) {
  throw Error(ErrorKind::kImage, concat("bad PNG: ", message));
}

// libpng allocates memory for a chunk, up to 2 GiB, before it notices that the chunk is missing.
void check_png_chunks(const uint8_t* bytes, size_t size) {
  constexpr size_t kSignature = 8;
  constexpr size_t kHeader = 8;
  constexpr size_t kChecksum = 4;
  for (size_t at = kSignature; size - at >= kHeader;) {
    const size_t length = png_get_uint_32(bytes + at);
    const size_t left = size - at - kHeader;
    if (length > left) fail("the data ends early; the file has been cut short");
    if (std::memcmp(bytes + at + 4, "IEND", 4) == 0) return;
    at += kHeader + std::min(length + kChecksum, left);
  }
}

}  // namespace

void PngDecoder::leave(png_structp png, png_const_charp message) {
  auto* input = static_cast<Input*>(png_get_error_ptr(png));
  std::snprintf(input->message, sizeof(input->message), "%s", message);
  png_longjmp(png, 1);
}

void PngDecoder::read(png_structp png, png_bytep out, png_size_t size) {
  auto* input = static_cast<Input*>(png_get_io_ptr(png));
  if (input->left < size) png_error(png, "the data ends early; the file has been cut short");
  std::memcpy(out, input->at, size);
  input->at += size;
  input->left -= size;
}

ImageSize PngDecoder::open(const uint8_t* bytes, size_t size) {
  close();
  check_png_chunks(bytes, size);
  input_ = {bytes, size, {}};
  png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &input_, leave,
                                [](png_structp, png_const_charp) {});
  if (png_ == nullptr) throw std::bad_alloc();
  info_ = png_create_info_struct(png_);
  if (info_ == nullptr) throw std::bad_alloc();
  if (setjmp(png_jmpbuf(png_)) != 0) fail(input_.message);
  png_set_read_fn(png_, &input_, read);
  png_read_info(png_, info_);
  orientation_ = file_orientation(bytes, size);  // libpng would find one after the image too late
  return {static_cast<int>(png_get_image_width(png_, info_)),
          static_cast<int>(png_get_image_height(png_, info_))};
}

void PngDecoder::decode(Image* image) {
  rows_.resize(image->height);
  for (int y = 0; y < image->height; ++y) rows_[y] = image->row(y);
  read_rows(image);
}

// No object with a destructor may live in here: a longjmp would skip it.
void PngDecoder::read_rows(Image* image) {
  if (setjmp(png_jmpbuf(png_)) != 0) {
    fail(input_.message);
  }
  const bool source_gray = gray();
  const bool to_gray = image->channels == 1;
  if (png_get_bit_depth(png_, info_) == 16) png_set_strip_16(png_);
  png_set_strip_alpha(png_);
  if (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
  if (source_gray) png_set_expand_gray_1_2_4_to_8(png_);
  if (source_gray && !to_gray) png_set_gray_to_rgb(png_);
  if (!source_gray && to_gray) png_set_rgb_to_gray(png_, PNG_ERROR_ACTION_NONE, 0.299, 0.587);
  png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
  if (png_get_rowbytes(png_, info_) != image->row_bytes()) {
    png_error(png_, "rows of an unexpected length");
  }
  png_read_image(png_, rows_.data());
  png_read_end(png_, nullptr);
}

void PngDecoder::close() {
  if (png_ != nullptr) png_destroy_read_struct(&png_, &info_, nullptr);
}

}  // namespace gluon_resnet
