#include "records/record_parts.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "records/record_format.h"

namespace gluon_resnet {
namespace {

// Reading a page costs little more than reading a few bytes of it; blocks grow while reads are
// close together, and stay small where large records are skipped.
constexpr size_t kLeastBlock = 4 << 10;
constexpr size_t kMostBlock = 256 << 10;

}  // namespace

void PartReader::read(uint64_t offset, uint8_t* out, size_t size) {
  const uint64_t end = start_ + block_.size();
  if (offset < start_ || offset + size > end) {
    const bool near = offset >= start_ && offset < end + kLeastBlock;
    const size_t block =
        near ? std::clamp(2 * block_.size(), kLeastBlock, kMostBlock) : kLeastBlock;
    const uint64_t left = bytes_.size() - std::min(offset, bytes_.size());
    block_.resize(std::max<uint64_t>(size, std::min<uint64_t>(block, left)));
    start_ = offset;
    bytes_.read(offset, block_.data(), block_.size());
  }
  std::memcpy(out, block_.data() + (offset - start_), size);
}

PartReader::Part PartReader::part(uint64_t offset, bool first) {
  const uint64_t left = bytes_.size() - offset;
  if (left < kPartHeader) {
    bytes_.fail(offset, concat("expected a record, found ", left,
                               " bytes before the end of the file; it has been cut short"));
  }
  uint8_t header[kPartHeader];
  read(offset, header, sizeof(header));
  const uint32_t magic = load_u32(header);
  if (magic != kRecordMagic) {
    char found[16];
    std::snprintf(found, sizeof(found), "0x%08x", magic);
    bytes_.fail(offset, concat("expected the magic number 0xced7230a, found ", found,
                               "; this is not a RecordIO file, or it or its index is corrupt"));
  }
  const uint32_t lrec = load_u32(header + 4);
  const uint32_t cflag = lrec >> 29;
  const uint64_t length = lrec & kMaxPartLength;
  if (!(first ? cflag <= 1 : cflag == 2 || cflag == 3)) {
    bytes_.fail(offset, concat("expected ", first ? "the first part of a record" : "its next part",
                               ", found a part with cflag ", cflag));
  }
  if (left - kPartHeader < padded(length)) {
    bytes_.fail(offset,
                concat("expected ", padded(length), " bytes of data, found ", left - kPartHeader,
                       " before the end of the file; it has been cut short"));
  }
  const uint64_t data = offset + kPartHeader;
  return {data, length, data + padded(length), cflag == 0 || cflag == 3};
}

}  // namespace gluon_resnet
