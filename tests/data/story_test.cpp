#include "data/story.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <unordered_map>

#include "core/error.h"
#include "data/corpus.h"
#include "tests/support/catch.h"

using namespace muonlab;

// A second reading of a Grammar, written from its description alone: it follows *every* derivation,
// where the Storyteller draws one, and adds up what it finds. Nothing here assumes that a text has
// one derivation.
namespace {

using Memory = WordClass::Memory;

struct Derivation {
  double p = 1;
  std::string text;    // what was written, when enumerating
  std::size_t at = 0;  // how much of the target was matched, when scoring
  std::vector<std::map<std::size_t, std::size_t>> people;  // class -> word
  std::size_t focus = 0, partner = 0;
};

class Reader {
 public:
  explicit Reader(const Grammar& grammar) : grammar_(grammar) {
    for (std::size_t c = 0; c < grammar.classes.size(); ++c) {
      const auto names = cut(grammar.classes[c].forms);
      for (std::size_t f = 0; f < names.size(); ++f) forms_[names[f]] = {c, f};
      words_.emplace_back();
      for (const auto& word : grammar.classes[c].words) words_.back().push_back(cut(word));
    }
  }

  // All passages, one entry per derivation.
  std::vector<Derivation> enumerate() const { return derive(nullptr); }

  struct Score {
    double p = 0;
    int derivations = 0;
  };
  Score score(const std::string& passage) const {
    Score score;
    for (const Derivation& d : derive(&passage))
      if (d.at == passage.size()) {
        score.p += d.p;
        ++score.derivations;
      }
    return score;
  }

 private:
  using List = std::vector<Derivation>;

  static std::vector<std::string> cut(const std::string& text) {
    std::vector<std::string> parts;
    std::size_t from = 0;
    for (std::size_t bar; (bar = text.find('|', from)) != std::string::npos; from = bar + 1)
      parts.push_back(text.substr(from, bar - from));
    parts.push_back(text.substr(from));
    return parts;
  }

  List derive(const std::string* target) const {
    List now = {Derivation{}};
    for (const Beat& beat : grammar_.beats) {
      List after;
      List so_far = now;
      for (std::size_t n = 0; n <= beat.max; ++n) {
        if (n >= beat.min)
          for (Derivation d : so_far) {
            d.p /= static_cast<double>(beat.max - beat.min + 1);
            after.push_back(d);
          }
        List longer;
        if (n < beat.max)
          for (const auto& text : beat.templates)
            for (Derivation d : so_far) {
              d.p /= static_cast<double>(beat.templates.size());
              sentence(text, std::move(d), target, longer);
            }
        so_far = std::move(longer);
      }
      now = std::move(after);
    }
    return now;
  }

  void sentence(const std::string& text, Derivation start, const std::string* target,
                List& out) const {
    List now = {std::move(start)};
    for (std::size_t at = 0; at < text.size() && !now.empty();) {
      List next;
      if (text[at] == '{') {
        const std::size_t end = text.find('}', at);
        for (const Derivation& d : now) slot(text.substr(at + 1, end - at - 1), d, target, next);
        at = end + 1;
      } else {
        const std::size_t end = std::min(text.find('{', at), text.size());
        for (const Derivation& d : now) say(text.substr(at, end - at), d, target, next);
        at = end;
      }
      now = std::move(next);
    }
    out.insert(out.end(), now.begin(), now.end());
  }

  static void say(const std::string& words, const Derivation& d, const std::string* target,
                  List& out) {
    if (target && target->compare(d.at, words.size(), words) != 0) return;
    out.push_back(d);
    if (target)
      out.back().at += words.size();
    else
      out.back().text += words;
  }

  void slot(const std::string& slot, const Derivation& d, const std::string* target,
            List& out) const {
    if (slot == "new") {
      out.push_back(d);
      out.back().people.emplace_back();
      out.back().focus = d.people.size();
      return;
    }
    const std::size_t split = slot.find_last_of("+?>.:");
    const std::string action = split == std::string::npos ? "" : slot.substr(0, split + 1);
    std::string name = slot.substr(action.size());
    const bool capital = std::isupper(static_cast<unsigned char>(name[0]));
    name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
    const auto [c, form] = forms_.at(name);
    const auto spoken = [&, c = c, form = form](std::size_t word) {
      std::string text = words_[c][word][form];
      if (capital) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
      return text;
    };

    if (action == "swap:" || action == "take:") {
      Derivation e = d;
      auto& mine = e.people[e.focus].at(c);
      auto& theirs = e.people[e.partner].at(c);
      if (action == "swap:")
        std::swap(mine, theirs);
      else
        mine = theirs;
      out.push_back(e);
    } else if (action == "?" || action == "?other.") {
      std::vector<std::size_t> who;
      for (std::size_t i = 0; i < d.people.size(); ++i)
        if (action == "?" || i != d.focus) who.push_back(i);
      for (const std::size_t i : who) {
        Derivation e = d;
        (action == "?" ? e.focus : e.partner) = i;
        e.p /= static_cast<double>(who.size());
        say(spoken(d.people[i].at(c)), e, target, out);
      }
    } else if (action == "+" || action == ">" || grammar_.classes[c].memory == Memory::none) {
      std::set<std::size_t> taken;
      if (action == ">") taken.insert(d.people[d.focus].at(c));
      if (action == "+" && grammar_.classes[c].memory == Memory::distinct)
        for (const auto& person : d.people)
          if (person.count(c)) taken.insert(person.at(c));
      const std::size_t n = words_[c].size() - taken.size();
      for (std::size_t word = 0; word < words_[c].size(); ++word) {
        if (taken.count(word)) continue;
        const std::string text = spoken(word);
        if (target && target->compare(d.at, text.size(), text) != 0) continue;
        Derivation e = d;
        e.p /= static_cast<double>(n);
        if (!action.empty()) e.people[e.focus][c] = word;
        say(text, e, target, out);
      }
    } else {
      say(spoken(d.people[action == "other." ? d.partner : d.focus].at(c)), d, target, out);
    }
  }

  Grammar grammar_;
  std::map<std::string, std::pair<std::size_t, std::size_t>> forms_;
  std::vector<std::vector<std::vector<std::string>>> words_;
};

// Every kind of slot, few words.
Grammar tiny_grammar() {
  Grammar g;
  g.classes = {{Memory::distinct, "name|he|his", {"Ann|she|her", "Bo|he|his", "Anna|she|her"}},
               {Memory::distinct, "thing", {"cup", "hat"}},
               {Memory::shared, "at|to", {"at home|home", "by the sea|to the sea"}},
               {Memory::none, "mood", {"sad", "glad"}}};
  const Beat person{
      1, 1, {"{new}{+Name} had {+thing} {+at}. ", "{new}{+At}, {+name} had {+thing}. "}};
  const Beat event{
      0,
      1,
      {"{?name} went {>to}. ", "{?name} took {?other.name}'s {other.thing}.{swap:thing} ",
       "{He} was {mood}. ", "{?name} met {?other.name} {other.at}.{take:at} "}};
  const Beat question{1, 1, {"Who has {?thing}? {Name}!\n\n", "Where is {?name}? {At}!\n\n"}};
  g.beats = {person, person, event, question};
  return g;
}

// -log p of the characters [from, to) of a text given those before, by the forward algorithm over
// all ways to cut the text into passages: P(text begins with u) is the sum, over the places where
// the last passage may begin, of the probability of getting there times that of a passage that
// begins with the rest.
double exact_nats(const std::map<std::string, double>& passages, const std::string& text,
                  std::size_t from, std::size_t to) {
  std::vector<double> reach(text.size() + 1);
  reach[0] = 1;
  for (std::size_t at = 0; at < text.size(); ++at)
    if (reach[at] > 0)
      for (const auto& [passage, p] : passages)
        if (text.compare(at, passage.size(), passage) == 0)
          reach[at + passage.size()] += reach[at] * p;
  const auto prefix = [&](std::size_t end) {
    double p = reach[end];
    for (std::size_t at = 0; at < end; ++at) {
      if (reach[at] == 0) continue;
      const std::string rest = text.substr(at, end - at);
      for (auto it = passages.lower_bound(rest); it != passages.end(); ++it) {
        if (it->first.compare(0, rest.size(), rest) != 0) break;
        if (it->first.size() > rest.size()) p += reach[at] * it->second;
      }
    }
    return p;
  };
  return std::log(prefix(from)) - std::log(prefix(to));
}

std::map<std::string, double> by_text(const std::vector<Derivation>& all) {
  std::map<std::string, double> texts;
  for (const Derivation& d : all) texts[d.text] += d.p;
  return texts;
}

}  // namespace

TEST_CASE("story: a small grammar, enumerated: one text per derivation, probabilities sum to 1") {
  const auto all = Reader(tiny_grammar()).enumerate();
  const auto texts = by_text(all);
  // Persons: (3 names, 2 things, 2 places) and (2, 1, 2), each in 2 templates. No event or 4 with 2
  // choices each. Questions: 2 with 2 people to ask for.
  CHECK(all.size() == (12 * 2) * (4 * 2) * (1 + 4 * 2) * (2 * 2));
  CHECK(texts.size() == all.size());
  double total = 0;
  for (const auto& [text, p] : texts) total += p;
  CHECK(total == Approx(1).epsilon(1e-12));
  // No passage begins another, so a series of passages has the product of their probabilities.
  for (auto it = texts.begin(); std::next(it) != texts.end(); ++it)
    if (std::next(it)->first.compare(0, it->first.size(), it->first) == 0) FAIL(it->first);
}

TEST_CASE("story: the enumeration sees an ambiguous grammar") {
  Grammar g = tiny_grammar();
  g.beats.back().templates = {"Who?\n\n", "Wh{mood}\n\n"};
  g.classes.back().words = {"o?", "y?"};
  const auto all = Reader(g).enumerate();
  CHECK(by_text(all).size() < all.size());
}

TEST_CASE(
    "story: the teller's -log p is that of all derivations together, character by character") {
  const Grammar grammar = tiny_grammar();
  const auto passages = by_text(Reader(grammar).enumerate());
  const Storyteller teller(grammar);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    std::string text;
    for (std::uint64_t i = 0; i < 6; ++i) teller.tell(seed, i, text);
    const std::size_t split = text.size();
    double told = 0;
    for (std::uint64_t i = 6; i < 12; ++i) told += teller.tell(seed, i, text);
    CHECK(exact_nats(passages, text, split, text.size()) == Approx(told).epsilon(1e-9));
  }
}

TEST_CASE("story: the teller draws passages with the probabilities that it states") {
  Grammar g = tiny_grammar();
  g.classes[0].words.pop_back();
  g.classes[2].words.resize(1);
  g.beats[0].templates.pop_back();
  g.beats[1].templates.pop_back();
  g.beats[2].templates = {"{?name} took {?other.name}'s {other.thing}.{swap:thing} ",
                          "{He} was {mood}. "};
  g.beats[3].templates.pop_back();
  const auto passages = by_text(Reader(g).enumerate());
  REQUIRE(passages.size() == 4 * 5 * 2);
  const Storyteller teller(g);
  std::map<std::string, int> counts;
  constexpr int kDraws = 20000;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    std::string text;
    const double nats = teller.tell(5, i, text);
    ++counts[text];
    REQUIRE(passages.count(text) == 1);
    REQUIRE(std::exp(-nats) == Approx(passages.at(text)).epsilon(1e-12));
  }
  // Five standard deviations of a binomial: 40 counts exceed them with probability below 1e-4, and
  // the seed is fixed.
  for (const auto& [text, p] : passages) {
    INFO(text);
    CHECK(std::abs(counts[text] - kDraws * p) < 5 * std::sqrt(kDraws * p * (1 - p)));
  }
}

TEST_CASE("story: expectations are exact") {
  const Grammar grammar = tiny_grammar();
  double nats = 0, characters = 0;
  for (const Derivation& d : Reader(grammar).enumerate()) {
    nats -= d.p * std::log(d.p);
    characters += d.p * static_cast<double>(d.text.size());
  }
  const auto mean = Storyteller(grammar).mean();
  CHECK(mean.nats == Approx(nats).epsilon(1e-12));
  CHECK(mean.characters == Approx(characters).epsilon(1e-12));
}

TEST_CASE("story: English passages have one derivation each, with the stated probability") {
  const Grammar grammar = english_grammar();
  const Storyteller teller(grammar);
  const Reader reader(grammar);
  const auto mean = teller.mean();
  constexpr int kPassages = 1000;
  double nats = 0, nats2 = 0, characters = 0, characters2 = 0;
  for (std::uint64_t i = 0; i < kPassages; ++i) {
    std::string text;
    const double told = teller.tell(3, i, text);
    const auto score = reader.score(text);
    INFO(text);
    REQUIRE(score.derivations == 1);
    REQUIRE(-std::log(score.p) == Approx(told).epsilon(1e-12));
    // The blank line at the end is the only one, so no passage begins another.
    REQUIRE(text.find("\n\n") == text.size() - 2);
    const auto size = static_cast<double>(text.size());
    nats += told;
    nats2 += told * told;
    characters += size;
    characters2 += size * size;
  }
  // Five standard errors of the mean.
  const auto error = [](double sum, double sum2) {
    return 5 * std::sqrt((sum2 / kPassages - sum * sum / kPassages / kPassages) / kPassages);
  };
  CHECK(std::abs(nats / kPassages - mean.nats) < error(nats, nats2));
  CHECK(std::abs(characters / kPassages - mean.characters) < error(characters, characters2));
}

TEST_CASE("story: a passage is a pure function of seed and index") {
  const Storyteller teller(english_grammar());
  const auto tell = [&](std::uint64_t seed, std::uint64_t index) {
    std::string text;
    teller.tell(seed, index, text);
    return text;
  };
  const std::string reference = tell(1, 5);
  tell(1, 6);
  CHECK(tell(1, 5) == reference);
  CHECK(tell(1, 6) != reference);
  CHECK(tell(2, 5) != reference);
}

TEST_CASE("story: a grammar that breaks the rules is refused with its template") {
  const auto refuses = [](const std::function<void(Grammar&)>& change, const std::string& what) {
    Grammar g = tiny_grammar();
    change(g);
    try {
      Storyteller teller(g);
      FAIL("accepted: " << what);
    } catch (const ConfigError& error) {
      INFO(error.what());
      CHECK(std::string(error.what()).find(what) != std::string::npos);
    }
  };
  const auto event = [](const char* text) {
    return [text](Grammar& g) { g.beats[2].templates[0] = text; };
  };
  refuses(event("{?name} had {nothing}."), "a slot {nothing} that means nothing");
  refuses(event("{+mood}"), "means nothing");
  refuses(event("{?name"), "open brace");
  refuses(event("{?at}"), "two people may share");
  refuses(event("{>name}"), "may not change");
  refuses(event("{?name} {other.thing}"), "before it is known");
  refuses(event("{?name} {swap:thing}"), "without a partner");
  refuses(event("{?name} {?other.name} {take:thing}"), "share a distinct fact");
  refuses(event("{+name}"), "not new");
  refuses(
      [](Grammar& g) {
        g.beats[2].templates = {"{new}{+name}{+thing}{+at}"}, g.classes[1].words.push_back("pot");
      },
      "min = max = 1");
  refuses([](Grammar& g) { g.beats[0].templates[0] = "{new}{+name}{+thing}"; }, "all facts");
  refuses([](Grammar& g) { g.beats[0].templates[0] = "{new}{+name}{+name}{+thing}{+at}"; },
          "not new");
  refuses([](Grammar& g) { g.beats[0].templates[0] = "{?name}"; }, "too early");
  refuses([](Grammar& g) { g.beats[0].templates[0] = "x"; }, "where the others");
  refuses([](Grammar& g) { g.beats[2].templates.clear(); }, "needs templates");
  refuses([](Grammar& g) { g.beats[2].max = 0, g.beats[2].min = 1; }, "min <= max");
  refuses([](Grammar& g) { g.classes[1].words.pop_back(); }, "more people than words");
  refuses([](Grammar& g) { g.classes[2].words.pop_back(); }, "may not change");
  refuses([](Grammar& g) { g.classes[0].words.push_back("Cy"); }, "does not have the forms");
  refuses([](Grammar& g) { g.classes[3].words.clear(); }, "has no words");
}

namespace {

// A character model with the counts of all contexts up to kOrder, each order smoothed by the one
// below: p_k(x) = (c(context, x) + a p_{k-1}(x)) / (c(context) + a). A proper distribution.
class CountModel {
 public:
  explicit CountModel(const std::string& text) {
    std::set<char> used(text.begin(), text.end());
    uniform_ = 1.0 / static_cast<double>(used.size());
    for (std::size_t at = 0; at < text.size(); ++at)
      for (std::size_t k = 0; k <= std::min(kOrder, at); ++k) {
        auto& counts = contexts_[text.substr(at - k, k)];
        ++counts.next[text[at]];
        ++counts.total;
      }
  }

  double nats(const std::string& text) const {
    double sum = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
      double p = uniform_;
      for (std::size_t k = 0; k <= std::min(kOrder, at); ++k) {
        const auto context = contexts_.find(text.substr(at - k, k));
        if (context == contexts_.end()) break;
        const auto count = context->second.next.find(text[at]);
        p = ((count == context->second.next.end() ? 0 : count->second) + kWeight * p) /
            (context->second.total + kWeight);
      }
      sum -= std::log(p);
    }
    return sum;
  }

 private:
  static constexpr std::size_t kOrder = 8;
  static constexpr double kWeight = 0.5;
  struct Counts {
    std::map<char, double> next;
    double total = 0;
  };
  double uniform_ = 0;
  std::unordered_map<std::string, Counts> contexts_;
};

std::string text_of(const Corpus& corpus, const Tokens& tokens) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens.size()));
  tokens.read(0, ids);
  return corpus.tokenizer->decode(ids);
}

}  // namespace

TEST_CASE("builtin corpus: the floor is that of the held-out text, and no model gets below it") {
  DataConfig config;
  config.builtin_size = 200000;
  const Corpus corpus = open_corpus(config);
  const std::string val = text_of(corpus, corpus.val);
  const auto n = static_cast<double>(val.size());
  REQUIRE(corpus.val_floor.has_value());

  // The independent reading of the held-out passages.
  const Reader reader(english_grammar());
  double nats = 0;
  for (std::size_t at = 0; at < val.size();) {
    const std::size_t end = val.find("\n\n", at) + 2;
    nats -= std::log(reader.score(val.substr(at, end - at)).p);
    at = end;
  }
  CHECK(*corpus.val_floor == Approx(nats / n).epsilon(1e-9));

  // Not below n floor - 20 nats, except with probability e^-20 (data/corpus.h).
  const double loss = CountModel(text_of(corpus, corpus.train)).nats(val) / n;
  INFO("model " << loss << ", floor " << *corpus.val_floor);
  CHECK(loss > *corpus.val_floor - 20 / n);
  // Counts of 8 characters cannot recall who owns what: the memory of the grammar is worth nats.
  CHECK(loss > 1.2 * *corpus.val_floor);
  // And it is a model that learned: the best guess without context costs about 3 nats.
  CHECK(loss < 1);
}
