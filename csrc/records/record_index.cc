#include "records/record_index.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/error.h"
#include "base/read_file.h"
#include "records/record_format.h"
#include "records/record_parts.h"

namespace gluon_resnet {
namespace {

void measure_extents(uint64_t file_size, std::vector<IndexEntry>* entries) {
  std::vector<uint64_t> offsets;
  offsets.reserve(entries->size() + 1);
  for (const IndexEntry& entry : *entries) offsets.push_back(entry.offset);
  offsets.push_back(file_size);
  if (!std::is_sorted(offsets.begin(), offsets.end())) std::sort(offsets.begin(), offsets.end());
  size_t near = 0;  // no search is needed if the index is in the order of the file
  for (IndexEntry& entry : *entries) {
    auto next = offsets.begin() + static_cast<ptrdiff_t>(near);
    if (*next != entry.offset || next[1] == entry.offset) {
      next = std::upper_bound(offsets.begin(), offsets.end(), entry.offset) - 1;
    }
    entry.extent = next[1] - entry.offset;
    near = static_cast<size_t>(next - offsets.begin()) + 1;
  }
}

}  // namespace

std::vector<IndexEntry> load_index(const std::string& index_path, const RecordBytes& bytes) {
  const RegularFile file(index_path, ErrorKind::kRecord, "a record file's index (.idx)");
  const std::string text = read_file(file, index_path);
  std::vector<IndexEntry> entries;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (size_t line = 1; at < end; ++line) {
    const char* const stop = std::find(at, end, '\n');
    const auto wrong = [&](const std::string& why) {
      throw Error(ErrorKind::kRecord,
                  concat(index_path, ": line ", line, ": ", why,
                         "; rebuild the index with tools/im2rec.py --rebuild-index"),
                  index_path, at - text.data());
    };
    IndexEntry entry{};
    const auto key = std::from_chars(at, stop, entry.key);
    if (key.ec != std::errc() || key.ptr == stop || *key.ptr != '\t') {
      wrong("expected KEY<tab>OFFSET, found '" + std::string(at, std::min(stop, at + 40)) + "'");
    }
    const auto offset = std::from_chars(key.ptr + 1, stop, entry.offset);
    const bool ended = offset.ptr == stop || (offset.ptr + 1 == stop && *offset.ptr == '\r');
    if (offset.ec != std::errc() || !ended) {
      wrong("expected KEY<tab>OFFSET, found '" + std::string(at, std::min(stop, at + 40)) + "'");
    }
    if (entry.offset >= bytes.size()) {
      wrong(concat("offset ", entry.offset, " is beyond the end of ", bytes.path(), " (",
                   bytes.size(), " bytes), which has been cut short or belongs to another index"));
    }
    if (entry.offset % 4 != 0) wrong(concat("offset ", entry.offset, " is not that of a record"));
    entries.push_back(entry);
    at = stop == end ? end : stop + 1;
  }
  if (entries.empty()) {
    throw Error(ErrorKind::kRecord,
                concat(index_path, ": the index is empty, but ", bytes.path(), " has ",
                       bytes.size(), " bytes; rebuild it with tools/im2rec.py --rebuild-index"),
                index_path, 0);
  }
  measure_extents(bytes.size(), &entries);
  return entries;
}

std::vector<IndexEntry> scan_index(const RecordBytes& bytes) {
  PartReader reader(bytes);
  std::vector<IndexEntry> entries;
  std::vector<int64_t> ids;
  for (uint64_t offset = 0; offset < bytes.size();) {
    const uint64_t start = offset;
    uint8_t header[kImageHeader];
    size_t have = 0;
    for (bool last = false; !last;) {
      const bool first = offset == start;
      const PartReader::Part part = reader.part(offset, first);
      if (!first) {  // the magic between two parts belongs to the record
        const size_t magic = std::min<size_t>(4, sizeof(header) - have);
        std::memcpy(header + have, &kRecordMagic, magic);
        have += magic;
      }
      const size_t size = std::min<uint64_t>(part.length, sizeof(header) - have);
      reader.read(part.data, header + have, size);
      have += size;
      offset = part.end;
      last = part.last;
    }
    entries.push_back({static_cast<int64_t>(entries.size()), start, offset - start});
    ids.push_back(have == sizeof(header) ? static_cast<int64_t>(load_u64(header + 8)) : -1);
  }
  std::vector<int64_t> sorted = ids;
  if (!std::is_sorted(sorted.begin(), sorted.end())) std::sort(sorted.begin(), sorted.end());
  const bool unique = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  if (unique && sorted.front() >= 0) {
    for (size_t i = 0; i < ids.size(); ++i) entries[i].key = ids[i];
  }
  return entries;
}

}  // namespace gluon_resnet
