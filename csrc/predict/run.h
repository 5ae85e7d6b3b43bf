// Runs many images through the network: threads read, decode and compute; results are in order.
#ifndef GLUON_RESNET_RUN_H_
#define GLUON_RESNET_RUN_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "predict/image_source.h"
#include "predictor/predictor.h"

namespace gluon_resnet {

struct Prediction {
  std::string name;
  std::vector<float> labels;  // of a record
  std::string error;          // if not empty, why there is no prediction
  std::vector<float> logits;
};

// One thread asks the source, and `threads` threads decode and compute. At most twice as many
// images as fill the predictors' batches are in progress, however slowly the results are taken.
//
// Batches are full, except at the end and when the source waits for input: then the images at hand
// are computed.
class PredictionRun {
 public:
  // Makes one predictor immediately, and more, up to `predictors`, when there is work for them.
  PredictionRun(ImageSource* source, std::function<Predictor()> make_predictor, size_t predictors,
                size_t threads);
  ~PredictionRun();  // does not wait for unfinished work
  PredictionRun(const PredictionRun&) = delete;
  PredictionRun& operator=(const PredictionRun&) = delete;

  const ModelCard& card() const { return first_->card(); }

  // The next prediction, in the source's order; none at the end. Throws whatever ended a thread.
  std::optional<Prediction> next();

 private:
  enum class State { kNamed, kReading, kDecoded, kComputing, kDone };
  struct Slot {
    State state = State::kNamed;
    ImageName image;
    Prediction prediction;
    std::vector<float> input;
  };
  using Lock = std::unique_lock<std::mutex>;

  void stop();
  void start(void (PredictionRun::*body)());
  void ask();
  void work();
  void read(Slot* slot, RecordBuffer* buffer) const;
  bool can_compute() const;
  void compute(Lock* lock);
  size_t count(State state) const;
  Slot* first(State state);

  ImageSource* const source_;
  const std::function<Predictor()> make_predictor_;
  const size_t predictors_;
  std::unique_ptr<Predictor> first_;
  const size_t batch_size_;
  const size_t capacity_;

  std::mutex mutex_;  // guards the members below
  std::condition_variable changed_;
  std::deque<Slot> slots_;         // in order
  std::vector<Predictor*> idle_;   // predictors
  std::vector<Predictor> others_;  // never grows beyond its reserved size
  size_t made_ = 1;                // predictors, including those being made
  bool paused_ = false;            // the source waits for input
  bool ended_ = false;             // the source has no more images
  bool stopped_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RUN_H_
