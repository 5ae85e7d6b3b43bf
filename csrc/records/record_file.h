// MXNet's RecordIO files of images, opened for reading; record_format.h describes them.
#ifndef GLUON_RESNET_RECORD_FILE_H_
#define GLUON_RESNET_RECORD_FILE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "records/record_bytes.h"
#include "records/record_format.h"
#include "records/record_index.h"

namespace gluon_resnet {

// A view of a record's bytes in the buffer that was handed to RecordFile::read().
struct Record {
  uint32_t flag = 0;
  const float* labels = nullptr;  // an array of num_labels
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
// after a fork, since reads are positioned and share no offset.
class RecordFile {
 public:
  // Opens `path` with the index at `index_path`; if `index_path` is empty, the file is scanned from
  // part to part, and a record's key is its id if the ids are unique, and otherwise its position.
  RecordFile(const std::string& path, const std::string& index_path);

  const std::string& path() const { return bytes_.path(); }
  size_t size() const { return entries_.size(); }
  int64_t key(size_t index) const { return entries_.at(index).key; }
  uint64_t offset(size_t index) const { return entries_.at(index).offset; }
  // The number of bytes to the next record in the file, or to its end.
  uint64_t extent(size_t index) const { return entries_.at(index).extent; }

  // The position of the record with this key; throws if there is none.
  size_t find(int64_t key) const;

  // The records with an image: all, except in insightface's files. image(i) is a position.
  size_t num_images() const { return num_images_; }
  size_t image(size_t i) const { return images_.empty() ? first_image_ + i : images_.at(i); }

  // Reads record `index` into `buffer`; the result points into it until the next call.
  Record read(size_t index, RecordBuffer* buffer) const;

  // The first of the images `begin` to `end` - 1 whose label is not a single whole number from 0 to
  // classes - 1; `end` if there is none. Reads the first bytes of each record.
  size_t find_wrong_label(size_t begin, size_t end, uint64_t classes) const;

  // Asks the system to start fetching this part of the file, without waiting for it.
  void will_need(uint64_t offset, uint64_t size) const { bytes_.will_need(offset, size); }

  // Reads every part of the file in order and compares it with the index: magic numbers, lengths,
  // headers, an entry for each record and a record for each entry. Throws at the first difference.
  void check() const;

  // Whether the index begins and ends where the file does, so that nothing has been appended.
  bool index_spans_file() const;

  // A 64-bit hash of what a loader reads: the offsets of the images' records, and the first bytes
  // of some of them. Neither the file's name nor the keys count. Throws if a record cannot be read.
  uint64_t fingerprint() const;

 private:
  std::optional<size_t> lookup(int64_t key) const;
  void sort_keys();
  void find_images();
  // The number of labels of a record that has nothing after them; 0 for any other record.
  size_t labels_without_image(size_t index) const;
  bool has_image(int64_t key) const;

  RecordBytes bytes_;
  std::vector<IndexEntry> entries_;                 // in the order of the index
  std::vector<std::pair<int64_t, uint32_t>> keys_;  // sorted; empty if key(i) == i
  std::vector<uint32_t> images_;                    // positions; empty if consecutive
  size_t first_image_ = 0;
  size_t num_images_ = 0;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RECORD_FILE_H_
