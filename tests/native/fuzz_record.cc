// A libFuzzer target: whatever the bytes of a record file and of its index, opening, reading and
// checking it throws an Error or gives what a slow, obvious reader finds in the bytes.
//
// An input is the index's text, a zero byte, and the record file; with an empty index the file is
// scanned. The files live in memory.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "memory_file.h"
#include "records/record_file.h"
#include "require.h"

namespace gluon_resnet {
namespace {

// The bytes of the record at `offset`, its parts joined; false where they are damaged.
bool join_parts(const std::vector<uint8_t>& file, size_t offset, std::vector<uint8_t>* record) {
  record->clear();
  for (bool first = true;; first = false) {
    uint32_t header[2];
    if (offset + sizeof(header) > file.size()) return false;
    std::memcpy(header, &file[offset], sizeof(header));
    const uint32_t cflag = header[1] >> 29;
    const size_t length = header[1] & kMaxPartLength;
    if (header[0] != kRecordMagic || cflag > 3 || (cflag < 2) != first) return false;
    offset += sizeof(header);
    const size_t end = offset + (length + 3) / 4 * 4;
    if (end > file.size()) return false;
    const auto* const magic = reinterpret_cast<const uint8_t*>(&kRecordMagic);
    if (!first) record->insert(record->end(), magic, magic + 4);
    record->insert(record->end(), &file[0] + offset, &file[0] + offset + length);
    offset = end;
    if (cflag == 0 || cflag == 3) return true;
  }
}

uint64_t load(const std::vector<uint8_t>& bytes, size_t at, size_t size) {
  uint64_t value = 0;
  std::memcpy(&value, &bytes[at], size);
  return value;
}

void require_same(const Record& found, const std::vector<uint8_t>& expected) {
  require(expected.size() >= kImageHeader, "a record without a whole header is refused");
  const uint64_t flag = load(expected, 0, 4);
  require(
      found.flag == flag && found.id == load(expected, 8, 8) && found.id2 == load(expected, 16, 8),
      "the header is the file's");
  const size_t labels = 4 * flag;
  require(expected.size() - kImageHeader >= labels, "labels that are not there are refused");
  require(found.num_labels == std::max<uint64_t>(flag, 1), "the number of labels is the file's");
  const uint8_t* const label = expected.data() + (flag == 0 ? 4 : kImageHeader);
  require(std::memcmp(found.labels, label, 4 * found.num_labels) == 0, "labels are the file's");
  require(std::equal(found.payload, found.payload + found.payload_size,
                     expected.begin() + kImageHeader + labels, expected.end()),
          "the payload is the file's");
}

void read_all(const RecordFile& file, const std::vector<uint8_t>& bytes) {
  RecordBuffer reused;
  std::vector<uint8_t> expected;
  for (size_t i = 0; i < file.size(); ++i) {
    require(file.key(file.find(file.key(i))) == file.key(i), "a record is found by its key");
    const bool whole = join_parts(bytes, file.offset(i), &expected);
    try {
      const Record record = file.read(i, &reused);
      require(whole, "a damaged record is refused");
      require_same(record, expected);
    } catch (const Error& error) {
      require(error.kind == ErrorKind::kRecord, "a record's error is of kind kRecord");
      require(!whole || expected.size() < kImageHeader ||
                  (expected.size() - kImageHeader) / 4 < load(expected, 0, 4),
              "a good record is read");
    }
  }
}

void run(const uint8_t* data, size_t size) {
  static auto* const index_file = new MemoryFile("index");
  static auto* const record_file = new MemoryFile("records");
  const uint8_t* const zero = std::find(data, data + size, uint8_t{0});
  const bool indexed = zero != data;
  const uint8_t* const start = std::min(zero + 1, data + size);
  const std::vector<uint8_t> bytes(start, data + size);
  try {
    const RecordFile file(record_file->write(start, bytes.size()),
                          indexed ? index_file->write(data, zero - data) : "");
    read_all(file, bytes);
    bool sound = true;
    try {
      file.check();
    } catch (const Error& error) {
      sound = false;
    }
    require(sound || indexed, "a file that could be scanned is sound");
  } catch (const Error& error) {
    require(error.kind == ErrorKind::kRecord, "a record file's error is of kind kRecord");
  }
}

}  // namespace
}  // namespace gluon_resnet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gluon_resnet::run(data, size);
  return 0;
}
