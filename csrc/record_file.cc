#include "record_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

#include "error.h"

namespace gluon_resnet {
namespace {

constexpr size_t kPartHeader = 8;
// One read brings a usual photograph whole; more is read only where a record needs it.
constexpr uint64_t kFirstRead = 256 << 10;

uint32_t load_u32(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint64_t load_u64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint64_t padded(uint64_t length) { return (length + 3) & ~uint64_t{3}; }

}  // namespace

RecordFile::RecordFile(const std::string& path, const std::string& index_path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw_system_error(path, "cannot open");
  try {
    struct stat status;
    if (::fstat(descriptor_, &status) != 0) throw_system_error(path, "cannot stat");
    if (!S_ISREG(status.st_mode)) fail(0, "expected a regular file");
    file_size_ = static_cast<uint64_t>(status.st_size);
    if (file_size_ == 0) fail(0, "the file is empty; expected RecordIO data");
    if (index_path.empty()) {
      scan();
    } else {
      load_index(index_path);
    }
    measure_extents();
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].key == static_cast<int64_t>(i)) continue;
      keys_.reserve(entries_.size());
      for (size_t j = 0; j < entries_.size(); ++j) {
        keys_.emplace_back(entries_[j].key, static_cast<uint32_t>(j));
      }
      std::sort(keys_.begin(), keys_.end());
      break;
    }
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

RecordFile::~RecordFile() { ::close(descriptor_); }

void RecordFile::fail(uint64_t offset, const std::string& message) const {
  throw Error(ErrorKind::kRecord, concat(path_, ": at offset ", offset, ": ", message), path_,
              static_cast<int64_t>(offset));
}

void RecordFile::read_at(uint64_t offset, uint8_t* out, size_t size) const {
  const uint64_t start = offset;
  const size_t wanted = size;
  while (size > 0) {
    const ssize_t got = ::pread(descriptor_, out, size, static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      throw_system_error(path_, concat("cannot read at offset ", offset));
    }
    if (got == 0) {
      fail(start, concat("expected ", wanted, " bytes, found ", wanted - size,
                         " before the end of the file; it has been cut short"));
    }
    out += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
}

template <typename Part>
uint64_t RecordFile::walk(uint64_t offset, Part part) const {
  for (bool first = true;; first = false) {
    if (file_size_ - offset < kPartHeader) {
      fail(offset, concat("expected a record, found ", file_size_ - offset,
                          " bytes before the end of the file; it has been cut short"));
    }
    uint8_t header[kPartHeader];
    read_at(offset, header, sizeof(header));
    const uint32_t magic = load_u32(header);
    if (magic != kRecordMagic) {
      char found[16];
      std::snprintf(found, sizeof(found), "0x%08x", magic);
      fail(offset, concat("expected the magic number 0xced7230a, found ", found,
                          "; this is no RecordIO file, or it or its index is corrupt"));
    }
    const uint32_t lrec = load_u32(header + 4);
    const uint32_t cflag = lrec >> 29;
    const uint64_t length = lrec & kMaxPartLength;
    const bool expected = first ? cflag <= 1 : cflag == 2 || cflag == 3;
    if (!expected) {
      fail(offset, concat("expected ", first ? "the first part of a record" : "its next part",
                          ", found a part with cflag ", cflag));
    }
    const uint64_t data = offset + kPartHeader;
    if (file_size_ - data < padded(length)) {
      fail(offset, concat("expected ", padded(length), " bytes of data, found ", file_size_ - data,
                          " before the end of the file; it has been cut short"));
    }
    part(data, length);
    offset = data + padded(length);
    if (cflag == 0 || cflag == 3) return offset;
  }
}

void RecordFile::scan() {
  std::vector<int64_t> ids;
  for (uint64_t offset = 0; offset < file_size_;) {
    const uint64_t start = offset;
    uint8_t header[kImageHeader];
    size_t have = 0;
    offset = walk(offset, [&](uint64_t data, uint64_t length) {
      if (data != start + kPartHeader) {  // the magic between two parts belongs to the record
        const size_t magic = std::min<size_t>(4, sizeof(header) - have);
        std::memcpy(header + have, &kRecordMagic, magic);
        have += magic;
      }
      const size_t part = std::min<uint64_t>(length, sizeof(header) - have);
      read_at(data, header + have, part);
      have += part;
    });
    entries_.push_back({static_cast<int64_t>(entries_.size()), start, 0});
    ids.push_back(have == sizeof(header) ? static_cast<int64_t>(load_u64(header + 8)) : -1);
  }
  std::vector<int64_t> sorted = ids;
  std::sort(sorted.begin(), sorted.end());
  const bool unique = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  if (unique && sorted.front() >= 0) {
    for (size_t i = 0; i < ids.size(); ++i) entries_[i].key = ids[i];
  }
}

void RecordFile::load_index(const std::string& index_path) {
  const auto closer = [](std::FILE* file) { std::fclose(file); };
  std::unique_ptr<std::FILE, decltype(closer)> file(std::fopen(index_path.c_str(), "rbe"), closer);
  if (!file) throw_system_error(index_path, "cannot open");
  std::vector<char> text;
  char block[1 << 16];
  for (size_t got; (got = std::fread(block, 1, sizeof(block), file.get())) > 0;) {
    text.insert(text.end(), block, block + got);
  }
  if (std::ferror(file.get())) throw_system_error(index_path, "cannot read");

  const char* at = text.data();
  const char* const end = at + text.size();
  for (size_t line = 1; at < end; ++line) {
    const char* const stop = std::find(at, end, '\n');
    const auto wrong = [&](const std::string& why) {
      throw Error(ErrorKind::kRecord,
                  concat(index_path, ": line ", line, ": ", why,
                         "; make the index anew with tools/im2rec.py --rebuild-index"),
                  index_path, at - text.data());
    };
    Entry entry{};
    const auto key = std::from_chars(at, stop, entry.key);
    if (key.ec != std::errc() || key.ptr == stop || *key.ptr != '\t') {
      wrong("expected KEY<tab>OFFSET, found '" + std::string(at, std::min(stop, at + 40)) + "'");
    }
    const auto offset = std::from_chars(key.ptr + 1, stop, entry.offset);
    const bool ended = offset.ptr == stop || (offset.ptr + 1 == stop && *offset.ptr == '\r');
    if (offset.ec != std::errc() || !ended) {
      wrong("expected KEY<tab>OFFSET, found '" + std::string(at, std::min(stop, at + 40)) + "'");
    }
    if (entry.offset >= file_size_) {
      wrong(concat("offset ", entry.offset, " is behind the end of ", path_, " (", file_size_,
                   " bytes), which has been cut short, or has another index"));
    }
    if (entry.offset % 4 != 0) wrong(concat("offset ", entry.offset, " is not a record's"));
    entries_.push_back(entry);
    at = stop == end ? end : stop + 1;
  }
  if (entries_.empty()) {
    throw Error(ErrorKind::kRecord,
                concat(index_path, ": the index is empty, but ", path_, " has ", file_size_,
                       " bytes; make it anew with tools/im2rec.py --rebuild-index"),
                index_path, 0);
  }
}

void RecordFile::measure_extents() {
  std::vector<uint64_t> offsets;
  offsets.reserve(entries_.size() + 1);
  for (const Entry& entry : entries_) offsets.push_back(entry.offset);
  offsets.push_back(file_size_);
  if (!std::is_sorted(offsets.begin(), offsets.end())) std::sort(offsets.begin(), offsets.end());
  for (Entry& entry : entries_) {
    entry.extent = *std::upper_bound(offsets.begin(), offsets.end(), entry.offset) - entry.offset;
  }
}

size_t RecordFile::find(int64_t key) const {
  if (keys_.empty()) {
    if (key >= 0 && key < static_cast<int64_t>(entries_.size())) return static_cast<size_t>(key);
  } else {
    const auto found =
        std::lower_bound(keys_.begin(), keys_.end(), std::make_pair(key, uint32_t{0}));
    if (found != keys_.end() && found->first == key) return found->second;
  }
  throw Error(ErrorKind::kUsage, concat(path_, ": no record has the key ", key), path_);
}

Record RecordFile::read(size_t index, RecordBuffer* buffer) const {
  const Entry& entry = entries_.at(index);
  const size_t first_read = std::min(entry.extent, kFirstRead);
  uint8_t* bytes = buffer->reserve(first_read);
  read_at(entry.offset, bytes, first_read);

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
      read_at(entry.offset + first_read, bytes + first_read, whole - first_read);
    }
    bytes += kPartHeader;
  } else {  // several parts, or an error that walk() explains
    std::vector<std::pair<uint64_t, uint64_t>> parts;
    walk(entry.offset, [&](uint64_t data, uint64_t length) { parts.emplace_back(data, length); });
    size = 4 * (parts.size() - 1);
    for (const auto& part : parts) size += part.second;
    bytes = buffer->reserve(size);
    uint8_t* out = bytes;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) {
        std::memcpy(out, &kRecordMagic, 4);
        out += 4;
      }
      read_at(parts[i].first, out, parts[i].second);
      out += parts[i].second;
    }
  }

  if (size < kImageHeader) {
    fail(entry.offset, concat("expected an image header of ", kImageHeader,
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
      fail(entry.offset,
           concat("the header says ", record.flag, " labels, but the record has only ",
                  size - kImageHeader, " bytes behind it"));
    }
    record.labels = reinterpret_cast<const float*>(bytes + kImageHeader);
    record.num_labels = record.flag;
    record.payload = bytes + kImageHeader + 4 * size_t{record.flag};
  }
  record.payload_size = static_cast<size_t>(bytes + size - record.payload);
  return record;
}

void RecordFile::will_need(uint64_t offset, uint64_t size) const {
  // It is only advice, and may be refused.
  static_cast<void>(::posix_fadvise(descriptor_, static_cast<off_t>(offset),
                                    static_cast<off_t>(size), POSIX_FADV_WILLNEED));
}

void RecordFile::check() const {
  std::vector<uint64_t> indexed;
  indexed.reserve(entries_.size());
  for (const Entry& entry : entries_) indexed.push_back(entry.offset);
  std::sort(indexed.begin(), indexed.end());
  const auto twice = std::adjacent_find(indexed.begin(), indexed.end());
  if (twice != indexed.end()) fail(*twice, "the index has two entries for this record");
  size_t at = 0;
  for (uint64_t offset = 0; offset < file_size_; ++at) {
    if (at == indexed.size() || indexed[at] > offset) {
      fail(offset,
           "a record stands here that the index does not have; make the index anew with "
           "tools/im2rec.py --rebuild-index");
    }
    if (indexed[at] < offset) fail(indexed[at], "the index points into the middle of a record");
    offset = walk(offset, [](uint64_t, uint64_t) {});
  }
}

}  // namespace gluon_resnet
