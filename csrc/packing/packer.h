// Packing: pictures are read, decoded, cropped, resized and encoded in parallel, and written in the
// order in which they were submitted.
#ifndef GLUON_RESNET_PACKER_H_
#define GLUON_RESNET_PACKER_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "images/decoder.h"
#include "images/image.h"
#include "records/record_writer.h"

namespace gluon_resnet {

struct PackOptions {
  bool pass_through = false;        // store the bytes as they are
  bool verify = true;               // but decode them to find damage
  bool center_crop = false;         // to a square, before resizing
  int resize = 0;                   // new length of the shorter side; 0: keep
  Color color = Color::kRgb;        // kSource: gray stays gray, and PNG keeps alpha
  Format encoding = Format::kJpeg;  // or kPng
  int quality = 95;                 // JPEG: 1 to 100; PNG: zlib's level, 0 to 9
  size_t threads = 1;
};

// A picture to pack. `content` says which of its members are used.
struct Picture {
  enum class Content {
    kFile,    // `size` bytes of `path` from `offset`, or all of it if `size` is -1
    kBytes,   // `bytes`, encoded
    kPixels,  // `pixels`
    kNone,    // nothing, and `problem` says why
  };

  int64_t key = 0;            // in the index, and the record's id
  std::vector<float> labels;  // at least one
  std::string name;           // for messages
  Content content = Content::kNone;
  std::string path;
  uint64_t offset = 0;
  int64_t size = -1;
  std::vector<uint8_t> bytes;
  Image pixels;
  std::string problem;
};

// Decodes what Decoder cannot into `image` (3 channels: RGB, 1: gray, 4: RGBA) as stored, not
// turned by its EXIF orientation, or leaves it empty and explains why in `problem`, if it knows.
// Called by several threads at once.
using Converter = void (*)(void* context, const uint8_t* bytes, size_t size, Image* image,
                           std::string* problem);

// Packs into a .rec and its .idx. The bytes written do not depend on the number of threads.
//
// A picture that cannot be packed is left out and recorded as a failure; the others go on. An
// output error, or an error of this program, ends packing: submit() and finish() throw it.
//
// All members may be called by any thread, as long as none calls the destructor; pictures are in
// the order of the calls of submit(). It owns its worker threads and holds a bounded number of
// pictures.
class Packer {
 public:
  struct Failure {
    std::string name;
    std::string reason;
  };

  // `converter` and its `context` must outlive the packer.
  Packer(const std::string& path, const std::string& index_path, const PackOptions& options,
         Converter converter, void* context);
  ~Packer();  // abandons what has not been written yet
  Packer(const Packer&) = delete;
  Packer& operator=(const Packer&) = delete;

  // Submits a picture, waiting up to `milliseconds` for room: takes it over and returns true, or
  // leaves it untouched and returns false.
  bool submit(Picture* picture, int milliseconds);

  // Says that no more pictures will come. Waits up to `milliseconds` for the rest to be written and
  // flushed to the disk, and returns whether it has been.
  bool finish(int milliseconds);

  // Abandons what has not been written yet, and joins the workers; a submit() or finish() that
  // waits in another thread throws. The converter must not call it.
  void close();

  size_t done() const;                    // pictures written or failed
  uint64_t bytes() const;                 // written to the .rec
  std::vector<Failure> failures() const;  // so far, in the order of submission

 private:
  struct Slot {
    Picture picture;
    std::vector<uint8_t> payload;
    bool ready = false;
  };
  class Worker;

  void work();
  void write();
  void fail(std::exception_ptr error);
  void stop_and_join();
  void throw_if_stopped() const;

  const PackOptions options_;
  const Converter converter_;
  void* const context_;
  RecordWriter writer_;  // used by write() only

  mutable std::mutex mutex_;       // guards all below
  std::condition_variable room_;   // for submit() and finish()
  std::condition_variable work_;   // for the workers
  std::condition_variable ready_;  // for the writer
  std::vector<Slot> slots_;        // a ring; a slot's content belongs to whoever works on it
  size_t submitted_ = 0;
  size_t taken_ = 0;
  size_t written_ = 0;
  uint64_t bytes_ = 0;
  bool ended_ = false;
  bool closed_ = false;
  bool stop_ = false;
  std::exception_ptr error_;
  std::vector<Failure> failures_;

  std::mutex joining_;  // guards the members below
  std::vector<std::thread> threads_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PACKER_H_
