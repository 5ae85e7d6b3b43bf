#include "images/chunks.h"

#include <cstring>

#include "images/exif.h"

namespace gluon_resnet {
namespace {

bool equal(const uint8_t* bytes, const char* text, size_t length) {
  return std::memcmp(bytes, text, length) == 0;
}

size_t big_endian(const uint8_t* bytes, size_t count) {
  size_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

size_t little_endian(const uint8_t* bytes, size_t count) {
  size_t value = 0;
  for (size_t i = count; i > 0; --i) value = value << 8 | bytes[i - 1];
  return value;
}

// A part of a file; the meaning of its name depends on the format.
struct Chunk {
  const uint8_t* name;
  const uint8_t* data;
  size_t size;
};

// Each of these advances to the next complete chunk after *at, and returns false if there is none.

// Up to the first scan; the name is the marker's second byte.
bool next_of_jpeg(const uint8_t* bytes, size_t size, size_t* at, Chunk* chunk) {
  while (size - *at >= 4) {
    const uint8_t* const here = bytes + *at;
    if (here[0] != 0xff || here[1] == 0xda) return false;
    const bool bare = here[1] == 0xff || here[1] == 0xd8;  // filling, start of image
    if (bare) {
      *at += here[1] == 0xff ? 1 : 2;
      continue;
    }
    const size_t length = big_endian(here + 2, 2);
    if (length < 2 || length > size - *at - 2) return false;
    *chunk = {here + 1, here + 4, length - 2};
    *at += 2 + length;
    return true;
  }
  return false;
}

bool next_of_png(const uint8_t* bytes, size_t size, size_t* at, Chunk* chunk) {
  constexpr size_t kAround = 12;  // length, name and checksum
  if (size - *at < kAround) return false;
  const size_t length = big_endian(bytes + *at, 4);
  if (length > size - *at - kAround) return false;
  *chunk = {bytes + *at + 4, bytes + *at + 8, length};
  *at += kAround + length;
  return true;
}

bool next_of_webp(const uint8_t* bytes, size_t size, size_t* at, Chunk* chunk) {
  if (size - *at < 8) return false;
  const size_t length = little_endian(bytes + *at + 4, 4);
  if (length > size - *at - 8) return false;
  *chunk = {bytes + *at, bytes + *at + 8, length};
  *at += 8 + length;
  if (*at < size) *at += length % 2;
  return true;
}

// The CRC-32 that follows a chunk of a PNG, over its name and its data.
bool is_undamaged(const Chunk& chunk) {
  uint32_t crc = ~uint32_t{0};
  for (const uint8_t* byte = chunk.name; byte < chunk.data + chunk.size; ++byte) {
    crc ^= *byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc == big_endian(chunk.data + chunk.size, 4);
}

// EXIF data have their own header in JPEG, and in some programs' WebP files.
constexpr size_t kExifHeader = 6;
bool has_exif_header(const Chunk& chunk) {
  return chunk.size >= kExifHeader && equal(chunk.data, "Exif\0\0", kExifHeader);
}

int orientation_of(const Chunk& chunk) {
  const size_t header = has_exif_header(chunk) ? kExifHeader : 0;
  return exif_orientation(chunk.data + header, chunk.size - header);
}

bool is_tiff(const Chunk& chunk) {
  return chunk.size >= 2 && (equal(chunk.data, "II", 2) || equal(chunk.data, "MM", 2));
}

}  // namespace

bool is_lossless_jpeg(const uint8_t* bytes, size_t size) {
  Chunk chunk;
  for (size_t at = 0; next_of_jpeg(bytes, size, &at, &chunk);) {
    const uint8_t marker = *chunk.name;
    const bool table = marker == 0xc4 || marker == 0xc8 || marker == 0xcc;
    if (marker >= 0xc0 && marker <= 0xcf && !table) return marker == 0xc3;
  }
  return false;
}

int file_orientation(const uint8_t* bytes, size_t size) {
  Chunk chunk;
  size_t at = 0;
  if (size >= 3 && equal(bytes, "\xff\xd8\xff", 3)) {
    while (next_of_jpeg(bytes, size, &at, &chunk)) {
      if (*chunk.name == 0xe1 && has_exif_header(chunk)) return orientation_of(chunk);
    }
  } else if (size >= 8 && equal(bytes, "\x89PNG\r\n\x1a\n", 8)) {
    at = 8;
    while (next_of_png(bytes, size, &at, &chunk)) {
      const bool exif = equal(chunk.name, "eXIf", 4) && is_tiff(chunk) && is_undamaged(chunk);
      if (exif) return orientation_of(chunk);
      if (equal(chunk.name, "IEND", 4)) return 1;
    }
  } else if (size >= 12 && equal(bytes, "RIFF", 4) && equal(bytes + 8, "WEBP", 4)) {
    at = 12;
    while (next_of_webp(bytes, size, &at, &chunk)) {
      if (equal(chunk.name, "EXIF", 4)) return orientation_of(chunk);
    }
  }
  return 1;
}

}  // namespace gluon_resnet
