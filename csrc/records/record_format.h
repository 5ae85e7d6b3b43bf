// MXNet's RecordIO files of images (.rec) and their index (.idx).
//
// A .rec file is a sequence of parts, each aligned to 4 bytes, little-endian:
//
//     uint32 magic = 0xced7230a
//     uint32 lrec  = cflag << 29 | length
//     uint8  data[length], zero padding to a multiple of 4
//
// cflag 0: the part is a whole record. A record that contains the magic at a multiple of 4 is cut
// there (the magic itself is omitted): its parts have cflag 1 (first), 2 (middle) and 3 (last).
//
// An image record starts with this header, followed by `flag` float32 labels (if there are none,
// `label` is the only label), followed by the encoded image:
//
//     uint32 flag;  float label;  uint64 id;  uint64 id2;
//
// An .idx file is text, with one line per record: KEY<tab>OFFSET of its first part.
//
// insightface's files also have records without an image. The one with key 0, which may be
// anywhere, has the labels (end, x): the images are the records with keys from 1 to end - 1.
// Records with keys from `end` on list the images of each identity. x is the end of their keys,
// but some writers put other values there.
#ifndef GLUON_RESNET_RECORD_FORMAT_H_
#define GLUON_RESNET_RECORD_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gluon_resnet {

constexpr uint32_t kRecordMagic = 0xced7230a;
constexpr uint64_t kMaxPartLength = (1u << 29) - 1;
constexpr size_t kPartHeader = 8;
constexpr size_t kImageHeader = 24;

inline uint32_t load_u32(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

inline uint64_t load_u64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

inline uint64_t padded(uint64_t length) { return (length + 3) & ~uint64_t{3}; }

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RECORD_FORMAT_H_
