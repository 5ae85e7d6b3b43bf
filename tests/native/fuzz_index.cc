// A libFuzzer target: whatever the bytes of an .idx, loading it gives an Error(kRecord), or entries
// in the file, whose text is read as the same entries again.

#include <cstdint>
#include <string>
#include <vector>

#include "memory_file.h"
#include "records/record_index.h"
#include "refused.h"

namespace gluon_resnet {
namespace {

constexpr size_t kFileSize = 4096;  // of the record file, whose content plays no part

std::string text_of(const std::vector<IndexEntry>& entries) {
  std::string text;
  for (const IndexEntry& entry : entries) {
    text += std::to_string(entry.key) + '\t' + std::to_string(entry.offset) + '\n';
  }
  return text;
}

bool equal(const std::vector<IndexEntry>& a, const std::vector<IndexEntry>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.key == y.key && x.offset == y.offset && x.extent == y.extent;
  });
}

void run(const uint8_t* data, size_t size) {
  static auto* const file = new MemoryFile("index");
  static auto* const records = new MemoryFile("records");
  static const std::vector<uint8_t> zeros(kFileSize);
  static const RecordBytes bytes(records->write(zeros.data(), zeros.size()));
  std::vector<IndexEntry> entries;
  try {
    entries = load_index(file->write(data, size), bytes);
  } catch (const Error& error) {
    require_refusal(error, ErrorKind::kRecord);
    require(error.offset >= 0 && static_cast<uint64_t>(error.offset) <= size,
            "an error's offset is in the file");
    return;
  }
  require(!entries.empty() && entries.size() <= size / 3 + 1, "an entry is a line");
  for (const IndexEntry& entry : entries) {
    require(entry.offset % 4 == 0, "a record begins at a multiple of 4");
    require(entry.extent > 0 && entry.offset + entry.extent <= kFileSize,
            "a record is in the file");
  }
  const std::string text = text_of(entries);
  const auto again =
      load_index(file->write(reinterpret_cast<const uint8_t*>(text.data()), text.size()), bytes);
  require(equal(entries, again), "the entries' text is the same index");
}

}  // namespace
}  // namespace gluon_resnet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gluon_resnet::run(data, size);
  return 0;
}
