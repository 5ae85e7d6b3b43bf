// MXNet's RecordIO files of images (.rec) and their index (.idx).
//
// A .rec file is a sequence of parts, each aligned to 4 bytes, little-endian:
//
//     uint32 magic = 0xced7230a
//     uint32 lrec  = cflag << 29 | length
//     uint8  data[length], zero padding to a multiple of 4
//
// cflag 0: the part is a whole record. A record that contains the magic at a multiple of 4 is cut
// there (the magic itself is left out): its parts have cflag 1 (first), 2 (middle) and 3 (last).
//
// An image record starts with this header, followed by `flag` float32 labels (none: `label` is the
// one label), followed by the encoded image:
//
//     uint32 flag;  float label;  uint64 id;  uint64 id2;
//
// An .idx file is text, a line a record: KEY<tab>OFFSET of its first part.
#ifndef GLUON_RESNET_RECORD_FILE_H_
#define GLUON_RESNET_RECORD_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gluon_resnet {

constexpr uint32_t kRecordMagic = 0xced7230a;
constexpr uint64_t kMaxPartLength = (1u << 29) - 1;
constexpr size_t kImageHeader = 24;

// A view of a record's bytes in the buffer that was handed to RecordFile::read().
struct Record {
  uint32_t flag = 0;
  const float* labels = nullptr;  // num_labels of them
  size_t num_labels = 0;          // max(flag, 1)
  uint64_t id = 0;
  uint64_t id2 = 0;
  const uint8_t* payload = nullptr;
  size_t payload_size = 0;
};

// Memory for one record, reused from call to call; owned by one thread.
class RecordBuffer {
 public:
  uint8_t* reserve(size_t size) {
    if (bytes_.size() < size) bytes_.resize(size + size / 2);
    return bytes_.data();
  }
  float single_label = 0;

 private:
  std::vector<uint8_t> bytes_;
};

// A .rec file opened for reading. All const members may be called from any number of threads and
// after a fork: reads are positioned and share no offset.
class RecordFile {
 public:
  // Opens `path` with the index at `index_path`; with an empty `index_path` the file is scanned
  // from part to part, and a record's key is its id where these are unique, its position otherwise.
  RecordFile(const std::string& path, const std::string& index_path);
  ~RecordFile();
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;

  const std::string& path() const { return path_; }
  size_t size() const { return entries_.size(); }
  int64_t key(size_t index) const { return entries_.at(index).key; }
  uint64_t offset(size_t index) const { return entries_.at(index).offset; }
  // Bytes to the next record in the file, or to its end.
  uint64_t extent(size_t index) const { return entries_.at(index).extent; }

  // The position of the record with this key; throws where there is none.
  size_t find(int64_t key) const;

  // Reads record `index` into `buffer`; the result points into it until the next call.
  Record read(size_t index, RecordBuffer* buffer) const;

  // Has the system begin to fetch this part of the file, and does not wait for it.
  void will_need(uint64_t offset, uint64_t size) const;

  // Reads every part of the file in order and compares with the index: magic, lengths, headers, an
  // index entry for each record and a record for each entry. Throws at the first difference.
  void check() const;

 private:
  struct Entry {
    int64_t key;
    uint64_t offset;
    uint64_t extent;  // bytes to the next record in the file, or to its end
  };

  void load_index(const std::string& index_path);
  void scan();
  void measure_extents();
  void read_at(uint64_t offset, uint8_t* out, size_t size) const;
  // Walks one record: calls part(offset of data, length) for each part, returns the record's end.
  template <typename Part>
  uint64_t walk(uint64_t offset, Part part) const;
  [[noreturn]] void fail(uint64_t offset, const std::string& message) const;

  std::string path_;
  int descriptor_ = -1;
  uint64_t file_size_ = 0;
  std::vector<Entry> entries_;                      // in the order of the index
  std::vector<std::pair<int64_t, uint32_t>> keys_;  // sorted; empty: key(i) == i
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RECORD_FILE_H_
