//! A small word list of captions and speech: sets of words of one meaning by part of speech, with their forms. Only near equals share a set; a word with
//! several meanings stands here only where its part of speech settles which one is meant.

use super::inflect::{with_ed, with_er, with_est, with_ing, with_s};
use std::{collections::HashMap, sync::LazyLock};

/// Part of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Noun,
    /// A verb; `true` where every word of its set takes an object.
    Verb(bool),
    Adjective,
    Adverb,
    Preposition,
}

/// Which form of a word: its index among the forms of its part of speech.
type Form = usize;
/// Forms of a verb: base, third person, with `ing`, past, participle.
pub(super) const BASE: Form = 0;
pub(super) const WITH_S: Form = 1;
pub(super) const WITH_ING: Form = 2;
pub(super) const PAST: Form = 3;

/// Sets of nouns. `a:b` gives an irregular plural; a word behind `-` has none.
const NOUNS: &str = "car automobile|couch sofa|bike bicycle|motorbike motorcycle|plane airplane aeroplane|kid child:children youngster|street road|\
photo photograph|picture image|tv television|rock stone|ship vessel|truck lorry|store shop|-trash -garbage -rubbish|forest woodland|ocean sea|\
beach shore|bunny rabbit|puppy pup|kitten kitty|pig hog|bug insect|snake serpent|mom mother|dad father|grandma grandmother|grandpa grandfather|\
man:men guy gentleman:gentlemen|woman:women lady|boy lad|infant baby|person:people individual|crowd throng|friend buddy pal|doctor physician|\
lawyer attorney|teacher instructor|cook chef|customer shopper|spectator onlooker|cyclist bicyclist|house home|flat apartment|cabin hut|\
building structure|path trail|highway freeway motorway|intersection junction|cab taxi|subway metro|-luggage -baggage|bag sack|cup mug|plate dish|\
pan skillet|stove cooker|fridge refrigerator|faucet tap|bathroom restroom|toilet lavatory|pillow cushion|rug carpet|curtain drape|\
phone telephone|-pants -trousers|sweater pullover jumper|jacket coat|-eyeglasses -spectacles|purse handbag|backpack rucksack|racket racquet|rope cord|\
roof rooftop|staircase stairway|elevator lift|bush shrub|flower blossom|branch bough|meadow pasture|stream brook creek|harbor harbour|island isle|\
sunset sundown|sunrise daybreak|fog mist|storm tempest|noise sound|melody tune|engine motor|conversation dialogue|whisper murmur|scream shriek|\
explosion blast|dinner supper|cookie biscuit|-corn -maize|eggplant aubergine|zucchini courgette|shrimp prawn|slice piece|group bunch|row line|\
pile heap stack|center centre middle|area region|place location spot|trip journey|vacation holiday|party celebration|gift present|toy plaything|\
error mistake|answer reply response|question query|illness sickness|film movie|-money -cash|price cost|start beginning|thief:thieves robber|enemy foe|\
-courage -bravery|-anger -fury -rage|-joy -delight -happiness|sadness sorrow|fear dread|speed velocity|color colour hue|\
ladder stepladder|hallway corridor|cellar basement|attic loft|cemetery graveyard|stadium arena|airport airfield|inn hotel|bar pub|pharmacy drugstore|\
parcel package|envelope wrapper|map chart|drawing sketch|poster placard|banner streamer|lantern lamp|torch flashlight|hammer mallet|shovel spade|\
nappy diaper|pram stroller|-popcorn|burger hamburger|-ketchup -catsup|-yogurt -yoghurt|chili chilli|doughnut donut|-spaghetti -pasta|\
sailor seaman:seamen|hiker rambler|runner jogger|dancer ballerina|singer vocalist|musician instrumentalist|actor performer|artist painter|writer author|\
pupil student|farmer grower|shopkeeper merchant|tailor dressmaker|boss manager|worker laborer labourer|neighbor neighbour|passenger traveler traveller|\
visitor guest|winner victor|loser underdog|leader chief|wife:wives spouse|jail prison|castle fortress|tower spire|\
waterfall cascade|cliff bluff|cave cavern|valley vale|swamp marsh bog|jungle rainforest|hill hillock|summit peak|-soil -earth|\
-mud -sludge|-dust -grit|-smoke -fumes|flame blaze|rooster cockerel|hare jackrabbit|beast creature|\
claw talon|beak bill|belly stomach|shirt top|gown dress|boot shoe|sneaker trainer|-jewelry -jewellery|\
watch wristwatch|clock timepiece|fan ventilator";

/// Sets of verbs without an object. `a:b:c` gives an irregular past and participle.
const INTRANSITIVE: &str = "walk stroll|jump leap|shout yell|speak:spoke:spoken talk|chat converse|cry weep:wept:wept|laugh chuckle|smile grin|gaze stare|\
sleep:slept:slept slumber|rest relax|hurry rush|wander roam|shine:shone:shone glow|sparkle glitter twinkle|growl snarl|whimper whine|squeal screech|\
howl wail|chirp tweet|buzz hum|rattle clatter|spin:spun:spun rotate|vanish disappear|shiver tremble|crouch squat|crawl creep:crept:crept|float drift|\
soar glide|argue quarrel|dine feast|sob bawl|rejoice celebrate|collapse crumple|explode detonate|arrive come:came:come|happen occur|remain stay|\
ascend rise:rose:risen|descend sink:sank:sunk|flash blink|roar bellow|mumble mutter|snooze doze|sprint dash|stumble trip|dangle hang:hung:hung|\
bounce rebound|gather assemble|swirl whirl|splash splatter|grumble complain";

/// Sets of verbs with an object.
const TRANSITIVE: &str = "throw:threw:thrown toss|push shove|pull tug|hit:hit:hit strike:struck:struck|chase pursue|watch observe|hug embrace|\
eat:ate:eaten consume|chew munch|cut:cut:cut slice|build:built:built construct|repair fix mend|buy:bought:bought purchase|\
choose:chose:chosen select|close shut:shut:shut|lift raise|display exhibit|use utilize|help assist|teach:taught:taught instruct|mix blend|\
surround encircle|decorate adorn|fasten attach|connect link|collect gather|destroy demolish wreck|hide:hid:hidden conceal|inspect examine|\
hate detest loathe|love adore|need require|allow permit|forbid:forbade:forbidden prohibit|finish complete|begin:began:begun start|stop halt|\
catch:caught:caught grab|grasp grip clutch|carry lug|wipe swab|fill load|paint color colour|sniff smell|nudge prod|drag haul|fling:flung:flung hurl|\
crush squash|shred tear:tore:torn|scrub scour|wrap enclose|bind:bound:bound tie|guard protect|praise applaud|scold rebuke|greet welcome|\
assault attack|feed:fed:fed nourish|harvest reap|steer drive:drove:driven|photograph snap|pet stroke|tease taunt|spray sprinkle|\
arrange organize organise|enter access|cross traverse|circle orbit|follow trail|answer reply|seize capture|rescue save";

/// Sets of adjectives. A word behind `+` has comparative forms.
const ADJECTIVES: &str = "+big +large|huge enormous gigantic immense massive|+tiny minuscule|+quick rapid +speedy +swift|+happy cheerful joyful|\
+sad +unhappy sorrowful|+angry furious|scared frightened|tired +weary|beautiful +lovely gorgeous|+ugly unsightly|+dirty +filthy +grimy|elderly aged|\
+young youthful|modern contemporary|+clever +smart intelligent|foolish +silly|+strange +odd +weird peculiar|+funny amusing comical|boring tedious|\
difficult +tough|+easy +simple|+damp +moist|+cold +chilly|+icy +frosty|+empty vacant|+rich +wealthy|+slim +slender|+chubby +plump|+wide +broad|\
+round circular|+shiny +glossy|+furry +fluffy +fuzzy|striped stripy|spotted dotted|+calm tranquil peaceful serene|crowded packed|+brave courageous fearless|\
famous renowned|important significant|false untrue|delicious +tasty +yummy|rotten spoiled|dangerous hazardous +risky|+safe secure|\
colorful colourful vivid|+foggy +misty|+cloudy overcast|+windy +breezy|+rocky +stony|gray grey|blond blonde|nearby neighboring neighbouring|\
+noisy +rowdy|silent soundless|hungry famished|thirsty parched|+sleepy drowsy|nervous anxious|+lazy idle|+busy occupied|+polite courteous|+rude impolite|\
+wild untamed|+tame domesticated|+steep sheer|+bumpy uneven|+smooth even|+rough coarse|+bent crooked|+curly wavy|bald hairless|\
+messy untidy|+neat +tidy|+fancy elegant|+plain unadorned|+cheap inexpensive|expensive +costly|+rusty corroded|cracked fractured|+shabby worn|\
transparent see-through|+muddy +mucky|snowy snow-covered|+rainy +drizzly|flowery floral|wooden timber|metallic metal|+tall towering|injured wounded|\
+sick +ill|+healthy +fit|pregnant expectant";

const ADVERBS: &str = "quickly rapidly swiftly speedily|loudly noisily|quietly softly|happily cheerfully joyfully|sadly unhappily|angrily furiously|\
suddenly abruptly|often frequently|rarely seldom|carefully cautiously|nearly almost|maybe perhaps|fully completely entirely totally|partly partially|\
gently tenderly|calmly peacefully serenely|upward upwards|downward downwards|forward forwards|backward backwards|immediately instantly|\
finally eventually|mainly chiefly|clearly plainly|roughly approximately|continuously constantly continually|occasionally sometimes|\
playfully mischievously|gracefully elegantly|eagerly keenly|briefly shortly|barely hardly|secretly covertly|simultaneously concurrently|\
somewhere someplace|everywhere everyplace|anyway anyhow|afterward afterwards";

const PREPOSITIONS: &str = "beside alongside|beneath underneath|among amongst|amid amidst|toward towards|while whilst|inside within|until till|concerning regarding";

/// One reading of a written form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub speech: Speech,
    pub form: Form,
    set: usize,
    member: usize,
}

struct Lexicon {
    /// Of each set and member its forms; an absent form is empty.
    sets: Vec<Vec<Vec<String>>>,
    readings: HashMap<String, Vec<Reading>>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(Lexicon::new);

impl Lexicon {
    fn new() -> Self {
        let mut lexicon = Self { sets: Vec::new(), readings: HashMap::new() };
        lexicon.add(NOUNS, Speech::Noun);
        lexicon.add(INTRANSITIVE, Speech::Verb(false));
        lexicon.add(TRANSITIVE, Speech::Verb(true));
        lexicon.add(ADJECTIVES, Speech::Adjective);
        lexicon.add(ADVERBS, Speech::Adverb);
        lexicon.add(PREPOSITIONS, Speech::Preposition);
        lexicon
    }

    fn add(&mut self, sets: &str, speech: Speech) {
        for words in sets.split('|') {
            let set = self.sets.len();
            let members: Vec<Vec<String>> = words.split_whitespace().map(|word| forms(word, speech)).collect();
            for (member, forms) in members.iter().enumerate() {
                for (form, word) in forms.iter().enumerate().filter(|(_, word)| !word.is_empty()) {
                    self.readings.entry(word.clone()).or_default().push(Reading { speech, form, set, member });
                }
            }
            self.sets.push(members);
        }
    }
}

fn forms(word: &str, speech: Speech) -> Vec<String> {
    match speech {
        Speech::Noun => match (word.strip_prefix('-'), word.split_once(':')) {
            (Some(word), _) => vec![word.into(), String::new()],
            (None, Some((one, many))) => vec![one.into(), many.into()],
            (None, None) => vec![word.into(), with_s(word)],
        },
        Speech::Verb(_) => {
            let mut parts = word.split(':');
            let base = parts.next().unwrap_or_default();
            let past = parts.next().map_or_else(|| with_ed(base), str::to_owned);
            let participle = parts.next().map_or_else(|| past.clone(), str::to_owned);
            vec![base.into(), with_s(base), with_ing(base), past, participle]
        }
        Speech::Adjective => match word.strip_prefix('+') {
            Some(word) => vec![word.into(), with_er(word), with_est(word)],
            None => vec![word.into(), String::new(), String::new()],
        },
        Speech::Adverb | Speech::Preposition => vec![word.into()],
    }
}

/// How a word in lower case may be read.
pub(super) fn readings(word: &str) -> &'static [Reading] {
    LEXICON.readings.get(word).map_or(&[], Vec::as_slice)
}

/// The other words of the set of a reading, in its form.
pub(super) fn others(reading: Reading) -> impl Iterator<Item = &'static str> + Clone {
    let set: &'static [Vec<String>] = LEXICON.sets.get(reading.set).map_or(&[], Vec::as_slice);
    let other = move |(member, forms): (usize, &'static Vec<String>)| {
        forms.get(reading.form).filter(|word| member != reading.member && !word.is_empty()).map(String::as_str)
    };
    set.iter().enumerate().filter_map(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_forms_and_no_word_stands_in_two_sets_of_one_part_of_speech() {
        let all: Vec<&str> = readings("car").iter().flat_map(|r| others(*r)).collect();
        assert_eq!(all, ["automobile"]);
        let ran: Vec<&str> = readings("speaking").iter().flat_map(|r| others(*r)).collect();
        assert_eq!(ran, ["talking"]);
        let sets: usize = [NOUNS, INTRANSITIVE, TRANSITIVE, ADJECTIVES, ADVERBS, PREPOSITIONS].iter().map(|t| t.split('|').count()).sum();
        assert!(LEXICON.sets.len() == sets && LEXICON.readings.len() > 1000, "{} {}", sets, LEXICON.readings.len());
        let alike = |a: &Reading, b: &Reading| a.speech == b.speech && a.set != b.set && a.form == b.form;
        let twice = |found: &[Reading]| found.iter().any(|a| found.iter().any(|b| alike(a, b)));
        let mut double: Vec<&String> = LEXICON.readings.iter().filter(|(_, found)| twice(found)).map(|(word, _)| word).collect();
        double.sort();
        assert!(double.is_empty(), "two meanings: {double:?}");
    }
}
