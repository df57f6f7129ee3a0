"""Two recordings compared: what differs between them, and whether by more than noise.

Values that follow one another are alike: a disk that is slow is slow for a while. So single values are not compared.
Each recording is cut into batches, and each batch gives one number: the median of its maps' latencies, or how many maps
a second there were in its time. The batches of one recording are then compared with those of the other by their ranks,
and count the less, the more each is like the one before it (:mod:`.ranks`).
"""
