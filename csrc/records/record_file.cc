#include "records/record_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/random.h"
#include "records/record_parts.h"

namespace gluon_resnet {
namespace {

// One read gets all of a usual photograph; more is read only if a record needs it.
constexpr uint64_t kFirstRead = 256 << 10;

// The number of records that the fingerprint reads, and of bytes of each.
constexpr size_t kSamples = 32;
constexpr size_t kSampleBytes = 4096;

// The end of a record, found by reading its parts.
uint64_t record_end(PartReader* reader, uint64_t offset) {
  for (bool first = true;; first = false) {
    const PartReader::Part part = reader->part(offset, first);
    if (part.last) return part.end;
    offset = part.end;
  }
}

}  // namespace

RecordFile::RecordFile(const std::string& path, const std::string& index_path) : bytes_(path) {
  entries_ = index_path.empty() ? scan_index(bytes_) : load_index(index_path, bytes_);
  sort_keys();
  find_images();
}

void RecordFile::sort_keys() {
  size_t same = 0;
  while (same < entries_.size() && entries_[same].key == static_cast<int64_t>(same)) ++same;
  if (same == entries_.size()) return;
  keys_.reserve(entries_.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    keys_.emplace_back(entries_[i].key, static_cast<uint32_t>(i));
  }
  if (!std::is_sorted(keys_.begin(), keys_.end())) std::sort(keys_.begin(), keys_.end());
}

std::optional<size_t> RecordFile::lookup(int64_t key) const {
  if (keys_.empty()) {
    if (key >= 0 && key < static_cast<int64_t>(entries_.size())) return static_cast<size_t>(key);
    return std::nullopt;
  }
  const auto found = std::lower_bound(keys_.begin(), keys_.end(), std::make_pair(key, uint32_t{0}));
  if (found == keys_.end() || found->first != key) return std::nullopt;
  return found->second;
}

size_t RecordFile::find(int64_t key) const {
  if (const std::optional<size_t> index = lookup(key)) return *index;
  throw Error(ErrorKind::kUsage, concat(path(), ": no record has the key ", key), path());
}

size_t RecordFile::labels_without_image(size_t index) const {
  uint8_t start[kPartHeader + kImageHeader];
  const IndexEntry& entry = entries_[index];
  if (entry.extent < sizeof(start)) return 0;
  bytes_.read(entry.offset, start, sizeof(start));
  const uint64_t flag = load_u32(start + kPartHeader);
  const uint64_t length = kImageHeader + 4 * flag;
  const bool only_labels = load_u32(start) == kRecordMagic && load_u32(start + 4) == length &&
                           kPartHeader + length <= entry.extent;
  return only_labels ? flag : 0;
}

bool RecordFile::has_image(int64_t key) const {
  const std::optional<size_t> index = lookup(key);
  return index && labels_without_image(*index) == 0;
}

// A record counts as insightface's header only if it says correctly where the images end: any
// other file may have a broken record with the key 0.
void RecordFile::find_images() {
  num_images_ = entries_.size();
  const std::optional<size_t> header = lookup(0);
  if (!header || labels_without_image(*header) != 2) return;
  float labels[2];
  bytes_.read(offset(*header) + kPartHeader + kImageHeader, reinterpret_cast<uint8_t*>(labels),
              sizeof(labels));
  if (!(labels[0] >= 2 && labels[0] < 0x1p31f) || std::floor(labels[0]) != labels[0]) return;
  // A float32 above 2^24 is rounded, by at most `slack`.
  const auto said = static_cast<int64_t>(labels[0]);
  const int64_t slack = said >> 24;
  int64_t end = said - slack;
  while (end <= said + slack && !(has_image(end - 1) && !has_image(end))) ++end;
  if (end > said + slack) return;

  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].key >= 1 && entries_[i].key < end) images_.push_back(static_cast<uint32_t>(i));
  }
  first_image_ = images_.front();
  num_images_ = images_.size();
  if (images_.back() - images_.front() + 1 == images_.size()) images_ = {};
}

Record RecordFile::read(size_t index, RecordBuffer* buffer) const {
  const IndexEntry& entry = entries_.at(index);
  const size_t first_read = std::min(entry.extent, kFirstRead);
  uint8_t* bytes = buffer->reserve(first_read);
  bytes_.read(entry.offset, bytes, first_read);

  size_t size;
  const bool simple = first_read >= kPartHeader && load_u32(bytes) == kRecordMagic &&
                      load_u32(bytes + 4) >> 29 == 0 &&
                      kPartHeader + padded(load_u32(bytes + 4)) <= entry.extent;
  if (simple) {
    size = load_u32(bytes + 4);
    const size_t whole = kPartHeader + size;
    if (whole > first_read) {
      std::vector<uint8_t> head(bytes, bytes + first_read);
      bytes = buffer->reserve(whole);
      std::memcpy(bytes, head.data(), first_read);
      bytes_.read(entry.offset + first_read, bytes + first_read, whole - first_read);
    }
    bytes += kPartHeader;
  } else {  // several parts, or an error that PartReader reports
    PartReader reader(bytes_);
    std::vector<PartReader::Part> parts;
    do {
      parts.push_back(reader.part(parts.empty() ? entry.offset : parts.back().end, parts.empty()));
    } while (!parts.back().last);
    size = 4 * (parts.size() - 1);
    for (const PartReader::Part& part : parts) size += part.length;
    bytes = buffer->reserve(size);
    uint8_t* out = bytes;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) {
        std::memcpy(out, &kRecordMagic, 4);
        out += 4;
      }
      bytes_.read(parts[i].data, out, parts[i].length);
      out += parts[i].length;
    }
  }

  if (size < kImageHeader) {
    bytes_.fail(entry.offset, concat("expected an image header of ", kImageHeader,
                                     " bytes, found a record of ", size, " bytes"));
  }
  Record record;
  record.flag = load_u32(bytes);
  record.id = load_u64(bytes + 8);
  record.id2 = load_u64(bytes + 16);
  if (record.flag == 0) {
    std::memcpy(&buffer->single_label, bytes + 4, 4);
    record.labels = &buffer->single_label;
    record.num_labels = 1;
    record.payload = bytes + kImageHeader;
  } else {
    if ((size - kImageHeader) / 4 < record.flag) {
      bytes_.fail(entry.offset,
                  concat("the header says ", record.flag, " labels, but the record has only ",
                         size - kImageHeader, " bytes after it"));
    }
    record.labels = reinterpret_cast<const float*>(bytes + kImageHeader);
    record.num_labels = record.flag;
    record.payload = bytes + kImageHeader + 4 * size_t{record.flag};
  }
  record.payload_size = static_cast<size_t>(bytes + size - record.payload);
  return record;
}

size_t RecordFile::find_wrong_label(size_t begin, size_t end, uint64_t classes) const {
  const auto is_class = [classes](float label) {
    return label >= 0 && std::floor(label) == label && double{label} < static_cast<double>(classes);
  };
  RecordBuffer buffer;
  for (size_t i = begin; i < end; ++i) {
    const IndexEntry& entry = entries_.at(image(i));
    uint8_t start[kPartHeader + kImageHeader + 4] = {};
    const auto size = static_cast<size_t>(std::min<uint64_t>(entry.extent, sizeof(start)));
    bytes_.read(entry.offset, start, size);
    const uint8_t* header = start + kPartHeader;
    const uint32_t length = load_u32(start + 4);
    uint32_t flag = load_u32(header);
    float label;
    std::memcpy(&label, header + (flag == 0 ? 4 : kImageHeader), 4);
    const size_t needed = kImageHeader + (flag == 0 ? 0 : 4);
    const bool simple = load_u32(start) == kRecordMagic && length >> 29 == 0 && length >= needed &&
                        size >= kPartHeader + needed;
    if (!simple) {  // several parts, or damage, which read() reports
      const Record record = read(image(i), &buffer);
      flag = static_cast<uint32_t>(record.num_labels);
      label = record.labels[0];
    }
    if (flag > 1 || !is_class(label)) return i;
  }
  return end;
}

void RecordFile::check() const {
  std::vector<uint64_t> indexed;
  indexed.reserve(entries_.size());
  for (const IndexEntry& entry : entries_) indexed.push_back(entry.offset);
  std::sort(indexed.begin(), indexed.end());
  const auto twice = std::adjacent_find(indexed.begin(), indexed.end());
  if (twice != indexed.end()) bytes_.fail(*twice, "the index has two entries for this record");
  PartReader reader(bytes_);
  size_t at = 0;
  for (uint64_t offset = 0; offset < bytes_.size(); ++at) {
    if (at == indexed.size() || indexed[at] > offset) {
      bytes_.fail(offset,
                  "the index does not list the record here; rebuild the index with "
                  "tools/im2rec.py --rebuild-index");
    }
    if (indexed[at] < offset) {
      bytes_.fail(indexed[at], "the index points into the middle of a record");
    }
    offset = record_end(&reader, offset);
  }
}

bool RecordFile::index_spans_file() const {
  PartReader reader(bytes_);
  return entries_.front().offset == 0 &&
         record_end(&reader, entries_.back().offset) == bytes_.size();
}

uint64_t RecordFile::fingerprint() const {
  uint64_t hash = num_images_;
  const auto add = [&hash](uint64_t value) { hash = mix((hash ^ value) + kGolden); };
  add(bytes_.size());
  for (size_t i = 0; i < num_images_; ++i) add(offset(image(i)));
  const size_t samples = std::min(num_images_, kSamples);
  for (size_t sample = 0; sample < samples; ++sample) {
    const IndexEntry& entry = entries_.at(image(sample * num_images_ / samples));
    uint8_t head[kSampleBytes] = {};
    bytes_.read(entry.offset, head, std::min<uint64_t>(entry.extent, sizeof(head)));
    for (size_t at = 0; at < sizeof(head); at += 8) add(load_u64(head + at));
  }
  return hash;
}

}  // namespace gluon_resnet
